"""Search over sizes of machines and options of networks; see docs/how-to/explore.md.

In comes a search space, out go evaluations and the Pareto front of them.
"""
