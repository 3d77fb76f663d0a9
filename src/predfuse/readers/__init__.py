"""The boundary: every file, document, picture, array and archive from outside is read here, and nowhere else.

In come paths and bytes nobody vouches for; out go checked plain values, or one :class:`predfuse.errors.InputError`.
Sizes are limited before memory is allocated, nothing that is read is run as code, and whatever a third-party parser
raises ends in one line.
"""
