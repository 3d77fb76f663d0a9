"""Magnitude pruning: which weights go, and masks that hold the zeros in a user's model.

In comes a model, out goes the same one with the smallest weights of its blocks at zero, held there while it trains.
"""
