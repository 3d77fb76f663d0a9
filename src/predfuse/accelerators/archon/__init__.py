"""Archon: predicted masks gate cheap adders, and each sum is multiplied once."""
