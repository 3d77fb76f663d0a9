"""Magnitude pruning: which weights go, masks that hold zeros in a user's model, what unpruned blocks cost."""
