"""Small machines for the tests of the gateware, and the simulator that runs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from predfuse.errors import InputError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.hardware.vary import with_fields
from predfuse.rtl.build import SOURCES, Tools, find_tools
from predfuse.rtl.simulator import Simulator

SMALL = Machine(
    tile_rows=4, tile_columns=4, lanes=4, lane_rows=3, words=2, outputs=8, banks=5, slots=12, kernel=5, side=7,
    unit_rows=4, inputs=2, held=8, columns=4, writes=3, queue=2, channels=8, passes=128, codes=512, gate_words=32,
    tap_words=64, column_words=32, project_rows=32, accumulator=48, finished_rows=2,
)  # fmt: skip
"""So small that tiles are predicted in parts and turns, passes divided, queues full; a channel has more words than
banks. The only one with windows of 5. Two rows of outputs leave at once where their map is wide enough."""

MID = Machine(
    tile_rows=4, tile_columns=4, lanes=4, lane_rows=7, words=4, outputs=32, banks=5, slots=64, side=6, unit_rows=6,
    inputs=4, held=16, columns=16, writes=4, queue=4, channels=320, passes=256, codes=2048, gate_words=320,
    tap_words=192, column_words=160, project_rows=96, access_rows=8, finished_rows=2,
)  # fmt: skip
"""Holds every fused block of the shipped networks. Its fill unit has room for eight rows, its banks bring two."""


TINY = replace(
    SMALL, tile_rows=2, tile_columns=2, lanes=3, banks=3, slots=3, kernel=3, side=4, held=4, channels=6, passes=64,
    gate_words=20, parts=4, access_rows=4, finished_rows=1,
)  # fmt: skip
"""Built in a third of the time; few gate words, so that some blocks predict into the places their lists give free;
slots and channels for two groups in some blocks only; parts of one tile at stride 2, of two at stride 1; four rows of a
plane in an access, outputs row by row."""

THREE = replace(
    TINY, lists=3, slots=16, outputs=9, columns=8, side=5, unit_rows=3, inputs=4, held=16, channels=48, passes=256,
    parts=16, buffer_banks=6, buffer_lines=64, together=2, access_rows=2,
)  # fmt: skip
"""Three lists in progress, a hidden plane walked in two turns and a buffer whose banks are no power of two, as
``archon-1.7`` has; so small a buffer that many blocks come in several images. Words of the write port bring two records
of a kind at most, an access two rows of a plane."""


def spec_of(machine: Machine) -> ArchonSpec:
    """A specification with the sizes of a machine of the tests, but for inputs a unit of the predictor holds."""
    banks = machine.banks
    structures = {
        "lane_registers": machine.lane_rows,
        "channel_loads": min(machine.loads, banks),
        "project_row_words": machine.words,
        "project_memory_words": machine.project_rows * machine.words * banks,
        "tap_memory_words": machine.tap_words * banks,
        "bank_channels": machine.slots + machine.slots % 2,
        "bank_expand_words": -(-machine.column_words // 32) * 32,
        "port_records": machine.together,
        "access_rows": machine.access_rows,
        "finished_rows": machine.finished_rows,
        "gate_queue_words": machine.queue,
        "predictor_units": machine.unit_rows * machine.side,
        "predictor_inputs": machine.inputs,
        "predictor_taps": machine.taps,
        "hidden_plane_pixels": machine.side**2,
        "gate_writes": machine.writes,
    }
    fields = {
        "array.rows": machine.tile_rows,
        "array.columns": machine.tile_columns * machine.lists,
        "pe.adders": machine.lanes,
        "pe.psum_regfile_words": machine.outputs // machine.lists,
        "global_buffer.banks": machine.buffer_banks,
        "global_buffer.depth": machine.buffer_lines * machine.buffer_banks,
        "global_buffer.width_bits": 16 * machine.buffer_pixels,
        "mask_buffer.banks": banks,
        "mask_buffer.depth": machine.gate_words * banks,
        "array_words_per_access": machine.buffer_words,
        "design.tile_rows": machine.tile_rows,
        "design.tile_columns": machine.tile_columns,
        "design.parallel_lists": machine.lists,
        "design.fill_cycles": machine.fill_cycles,
        "design.largest_predictor_weight": 4,
        **{f"design.structures.{name}": size for name, size in structures.items()},
    }
    spec = with_fields(load_spec("archon-tiny"), fields)
    assert isinstance(spec, ArchonSpec)
    return spec


def require_tools() -> Tools:
    """Verilator and a compiler; the test is skipped where one is missing."""
    try:
        return find_tools()
    except InputError as error:
        pytest.skip(str(error))


def simulator_of(machine: Machine, folder: Path = SOURCES, *arguments: str, waves: str = "") -> Simulator:
    """Built; the test is skipped where no compiler or no Verilator is."""
    require_tools()
    return Simulator(machine, folder, waves, arguments)
