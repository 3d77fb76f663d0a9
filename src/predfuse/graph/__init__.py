"""The float network: nodes, the file they are kept in, and how a PyTorch module becomes one."""
