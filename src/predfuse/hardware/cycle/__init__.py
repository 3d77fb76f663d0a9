"""Cycle fidelity: what real machines would take, from the real weights and the real masks of real images.

In come a network or program, a specification and the masks of images, out goes a run: a result and its timeline.
"""
