"""Faster ways to train blocks, on a processor and on a GPU, to the values of the plain layers but for rounding.

In comes a model whose blocks are to be trained, out goes the same model with kernels put into its blocks.
"""
