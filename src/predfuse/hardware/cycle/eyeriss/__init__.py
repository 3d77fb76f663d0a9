"""The dense and the sparse machine at cycle fidelity."""
