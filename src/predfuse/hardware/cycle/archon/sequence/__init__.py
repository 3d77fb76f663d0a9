"""A fused block as the gateware of a machine works through it: fills and starts, in which order and in which cycle."""
