"""Networks for other runtimes: plain, predicted and fused, as PyTorch modules, ``torch.export`` archives and ONNX.

In comes a network, out goes a file, kept only if running it gives the network's values.
"""
