"""Archon's fused-block core as hardware: streams made from a program, SystemVerilog that runs them, simulation."""
