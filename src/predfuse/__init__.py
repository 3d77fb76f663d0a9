"""Predictive layer fusion for CNNs: from a trainable PyTorch model to an accelerator that runs it bit for bit."""

__version__ = "0.1.0"
