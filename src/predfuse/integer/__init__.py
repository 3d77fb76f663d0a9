"""Integers: a network is compiled to a program, and the program runs bit for bit.

In come a float network and calibration images, out goes a program; program and images in, int16 scores and the masks of
every block out. There is a slow, obvious machine and a fast one; they give the same bits.
"""

from predfuse.integer.run import MachineResult, run_program

__all__ = ["MachineResult", "run_program"]
