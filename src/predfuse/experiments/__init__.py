"""Experiments: the demo, the comparison of machines, the published tables, ablations, benchmarks.

In come networks, training runs and specifications, out go results as dataclasses; ``report`` shows them.
"""
