"""Faster ways to train blocks, on a processor and on a GPU, to the values of the plain layers but for rounding."""
