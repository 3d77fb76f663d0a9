"""A folder with the gateware of a machine, the words of a program for it, and a bench that needs only Verilator."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

from predfuse.files import require_new_folder, write_folder_atomically
from predfuse.graph.nodes import Array
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.integer.program import Program
from predfuse.rtl.build import SOURCES, VERILATOR_OPTIONS
from predfuse.rtl.run import block_steps
from predfuse.rtl.simulator import Run, encode
from predfuse.rtl.steps import Step

_MAKEFILE = """\
# make: builds the gateware with Verilator, runs every fused block and holds outputs and cycles against the expected.
# The Python package of Verilator does not know how its compiler is given precompiled headers: it is told.
VERILATOR ?= verilator
BLOCKS := {blocks}

check: obj/Varchon compare
\t@for block in $(BLOCKS); do \\
\t  ./obj/Varchon $$block.words $$block.results && ./compare $$block.expected $$block.results || exit 1; done

obj/Varchon: $(wildcard sv/*.sv) bench.cpp
\t$(VERILATOR) --cc --exe --build --Mdir obj {options} -MAKEFLAGS "CFG_CXXFLAGS_PCH_I=-include" \\
\t  -CFLAGS "-O1 -DTILE_COLUMNS={columns}" {parameters} \\
\t  $(wildcard sv/*.sv) $(CURDIR)/bench.cpp

compare: compare.cpp
\t$(CXX) -O1 -o $@ $<

clean:
\trm -rf obj compare *.results

.PHONY: check clean
"""


def generate(program: Program, images: Array, machine: Machine, folder: Path) -> list[str]:
    """Write the folder, whole or not at all; the names of the blocks in it.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]`` whose pixels the blocks are fed.
        machine: The gateware.
        folder: New.

    Raises:
        InputError: The folder cannot be written, or the gateware does not hold a block.
    """
    require_new_folder(folder)
    steps = block_steps(program, images, machine)
    files = [f"{index:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', name)[:80]}" for index, name in enumerate(steps)]

    def fill(temporary: Path) -> None:
        (temporary / "sv").mkdir()
        for source in sorted(SOURCES.glob("*.sv")):
            shutil.copy(source, temporary / "sv")
        for bench in SOURCES.glob("*.cpp"):
            shutil.copy(bench, temporary)
        for file, own in zip(files, steps.values(), strict=True):
            told = [Run(one.flags) if isinstance(one, Step) else one for one in own]
            (temporary / f"{file}.words").write_bytes(encode(told))
            expected = np.concatenate([one.expected.words() for one in own if isinstance(one, Step)])
            (temporary / f"{file}.expected").write_bytes(expected.astype("<i8").tobytes())
        text = _MAKEFILE.format(
            blocks=" ".join(files),
            options=" ".join(VERILATOR_OPTIONS),
            columns=machine.tile_columns,
            parameters=" ".join(f"-G{name}={value}" for name, value in machine.parameters().items()),
        )
        (temporary / "Makefile").write_text(text)

    write_folder_atomically(folder, fill)
    return files
