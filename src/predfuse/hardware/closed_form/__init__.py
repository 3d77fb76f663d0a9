"""Closed-form models of the published machines (ICS 2021): cycles and energy from shapes and densities."""
