"""Fusion in floating point: fused weights, execution of fused networks, and how many operations they take.

In come networks and images, out go scores, masks, survivors and counts; ``docs/explanation/arithmetic.md`` is what it computes.
"""
