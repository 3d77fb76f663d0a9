"""The float network: nodes, the file they are kept in, and how a PyTorch module becomes one.

In come arrays (batch norm folded) or a PyTorch module, out goes a checked :class:`predfuse.graph.nodes.Network`.
"""
