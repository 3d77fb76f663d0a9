"""Archon's fused-block core as hardware: streams a program is made into, SystemVerilog that runs them, its simulation."""
