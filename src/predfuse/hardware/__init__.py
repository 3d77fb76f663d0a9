"""Accelerators: specifications, and what networks cost on them in cycles, energy and area.

In come a network or a program, a specification and (at cycle fidelity) masks, out goes a result per layer and stage.

spec = load_spec("archon-ics21")
result = simulate(network, spec)
result.total_cycles, result.total_energy_uj, total_area_um2(spec)
"""

from predfuse.hardware.area import total_area_um2
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.pruning import prune_blocks
from predfuse.hardware.result import Simulation, SimulationResult
from predfuse.hardware.spec import AcceleratorSpec, ArchonSpec, load_spec, names
from predfuse.hardware.vary import with_fields

__all__ = [
    "AcceleratorSpec",
    "ArchonSpec",
    "Simulation",
    "SimulationResult",
    "load_spec",
    "names",
    "prune_blocks",
    "simulate",
    "total_area_um2",
    "with_fields",
]
