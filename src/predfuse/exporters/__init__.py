"""Networks for other runtimes: plain, predicted and fused, as PyTorch modules, ``torch.export`` archives and ONNX."""
