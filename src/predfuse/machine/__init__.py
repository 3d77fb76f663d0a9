"""The integer machine: runs programs bit for bit, a slow obvious reference and a fast one."""

from predfuse.machine.run import MachineResult, run_program

__all__ = ["MachineResult", "run_program"]
