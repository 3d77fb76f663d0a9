"""Search over sizes of machines and options of networks; see docs/explore.md.

In comes a search space, out go evaluations and the Pareto front of them.
"""
