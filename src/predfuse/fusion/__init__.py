"""Fusion in floating point: fused weights, execution of fused networks, and how many operations they take.

In come networks and images, out go scores, masks, survivors and counts, as ``docs/explanation/arithmetic.md`` says.
"""
