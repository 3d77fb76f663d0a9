"""Cycle fidelity: what real machines would take, from the real weights and the real masks of real images."""
