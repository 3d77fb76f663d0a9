"""Search over sizes of machines and options of networks; see docs/explore.md."""
