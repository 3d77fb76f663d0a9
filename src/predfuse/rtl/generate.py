"""A folder with the gateware of a machine, images of its buffer for a program, and a bench: needs only Verilator."""

from __future__ import annotations

import re
import shutil
from dataclasses import astuple
from pathlib import Path

import numpy as np

from predfuse.arrays import ImageArray, Int64Array
from predfuse.files import require_new_folder, write_folder_atomically
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.spec import ArchonSpec
from predfuse.integer.program import Program
from predfuse.rtl.build import SOURCES, VERILATOR_OPTIONS
from predfuse.rtl.image import Image
from predfuse.rtl.run import chain_images, prepared_for
from predfuse.rtl.simulator import CLOCK_WORDS, encode

ANY = np.iinfo(np.int64).min
"""Stands for whatever comes out."""
_MAKEFILE = """\
# make: builds the gateware with Verilator, runs all chains of fused blocks, holds outputs and cycles to the expected.
# The Python package of Verilator does not know how its compiler is given precompiled headers: it is told.
VERILATOR ?= verilator
CHAINS := {chains}

check: obj/Vmachine compare
\t@for chain in $(CHAINS); do \\
\t  ./obj/Vmachine $$chain.images $$chain.results && ./compare $$chain.expected $$chain.results || exit 1; done

obj/Vmachine: $(wildcard sv/*.sv) bench.cpp
\t$(VERILATOR) --cc --exe --build --Mdir obj {options} -MAKEFLAGS "CFG_CXXFLAGS_PCH_I=-include" \\
\t  -CFLAGS "-O1 -DLINE_PIXELS={line}" {parameters} \\
\t  $(wildcard sv/*.sv) $(CURDIR)/bench.cpp

compare: compare.cpp
\t$(CXX) -O1 -o $@ $<

clean:
\trm -rf obj compare *.results

.PHONY: check clean
"""


def generate(
    program: Program, images: ImageArray, machine: Machine, folder: Path, spec: ArchonSpec | None = None
) -> list[str]:
    """Write the folder, whole or not at all; the names of the chains of blocks in it.

    Args:
        program: Compiled.
        images: ``[N, C, H, W]`` whose pixels the blocks are fed.
        machine: The gateware.
        folder: New.
        spec: The machine, by which it is known which feature maps stay in the global buffer; None: all of them.

    Raises:
        InputError: The folder cannot be written, or the gateware does not hold a block.
    """
    require_new_folder(folder)
    told = chain_images(program, images, machine, None if spec is None else prepared_for(program, spec, machine))
    files = [f"{index:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '_', own.layers[0])[:80]}" for index, own in enumerate(told)]

    def fill(temporary: Path) -> None:
        (temporary / "sv").mkdir()
        for source in sorted(SOURCES.glob("*.sv")):
            shutil.copy(source, temporary / "sv")
        for bench in SOURCES.glob("*.cpp"):
            shutil.copy(bench, temporary)
        for file, chain in zip(files, told, strict=True):
            (temporary / f"{file}.images").write_bytes(encode(chain.images))
            expected = np.concatenate([_expected(one, machine) for one in chain.images])
            (temporary / f"{file}.expected").write_bytes(expected.astype("<i8").tobytes())
        text = _MAKEFILE.format(
            chains=" ".join(files),
            options=" ".join(VERILATOR_OPTIONS),
            line=machine.line,
            parameters=" ".join(f"-G{name}={value}" for name, value in machine.parameters().items()),
        )
        (temporary / "Makefile").write_text(text)

    write_folder_atomically(folder, fill)
    return files


def _expected(image: Image, machine: Machine) -> Int64Array:
    """What the bench is to write of an image; ``ANY`` for pixels beyond the outputs, and for what it says of the cycles
    before a step but their number."""
    pixels = np.full(image.read_rows * machine.line, ANY)
    head = [len(image.steps)]
    for step in image.steps:
        one = step.expected
        head += [step.turn, *[ANY] * (CLOCK_WORDS - 1)]
        head += [one.list_cycles, one.predict_cycles, len(one.begins), *one.begins]
        pixels[step.at] = step.pixels
    return np.concatenate((np.array([*head, *astuple(image.planned), len(pixels)], np.int64), pixels))
