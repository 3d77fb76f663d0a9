"""The integer machine: runs programs bit for bit, a slow obvious reference and a fast one."""

from predfuse.integer.run import MachineResult, run_program

__all__ = ["MachineResult", "run_program"]
