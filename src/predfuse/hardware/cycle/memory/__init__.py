"""Buffers and the DRAM channel at cycle fidelity, the same for all machines."""
