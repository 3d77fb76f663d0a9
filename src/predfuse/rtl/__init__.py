"""Archon's fused-block core as hardware: streams made from a program, SystemVerilog that runs them, simulation.

In come a compiled program and the sizes of a machine, out go the words it is told, a folder with the gateware, and what
the gateware did under simulation, beside the integer machine and the cycle model.
"""
