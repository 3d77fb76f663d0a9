"""Closed-form models of the published machines (ICS 2021): cycles and energy from shapes and densities.

In come a network or program and a specification, out goes a result per layer and stage at ``paper`` fidelity.
"""
