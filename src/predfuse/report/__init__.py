"""What people look at: terminal tables and self-contained HTML pages.

In come finished results, out go text and HTML; nothing is computed here.
"""
