"""Archon at cycle fidelity: fused blocks planned tile by tile, and what their plans take."""
