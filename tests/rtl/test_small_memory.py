"""A memory of few words in latches, in their cells and in registers: alike in both halves of every cycle.

Each of six faults in the latches is seen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from rtl.bench import Bench, Component, build_library
from rtl.machines import require_tools
from rtl.models import pack

from predfuse.rtl import yosys
from predfuse.rtl.build import SOURCES
from predfuse.rtl.cells import load_cells
from predfuse.rtl.synthesis import elaborated, into_cells, with_parameters

SOURCE = (SOURCES / "small_memory.sv").read_text()
WIDTH, DEPTH, READS, ADDRESS = 6, 5, 2, 3
FAULTS = {
    "open_without_clock": ("clk & chosen[w]", "chosen[w]"),
    "open_in_second_half": ("clk & chosen[w]", "~clk & chosen[w]"),
    "chosen_late": ("if (!clk) chosen", "if (clk) chosen"),
    "always": ("write && write_at ==", "write || write_at =="),
    "nothing_held": ("always @(posedge clk) held <= write_data", "always_latch if (clk) held = write_data"),
    "held_late": ("always @(posedge clk) held", "always @(negedge clk) held"),
}
RIGHT = "registers", "latches", "cells"
Cycle = tuple[bool, int, int, list[int]]


def _cells(folder: Path) -> str:
    """The latches as they are synthesised, every cell by its function."""
    cells = load_cells(None)
    sizes = {"WIDTH": WIDTH, "DEPTH": DEPTH, "READS": READS, "LATCHED": DEPTH + 1}
    netlist = elaborated("small_memory", {"small_memory.sv": with_parameters(SOURCE, sizes)})
    (module,) = netlist.texts
    mapped = into_cells(module, netlist, cells, 5).read_text()
    assert mapped.count("LATCH ") == WIDTH * DEPTH + DEPTH and mapped.count("DFF ") == WIDTH
    (folder / "cells.lib").write_text(cells.text)
    (folder / "mapped.v").write_text(mapped)
    commands = ["read_verilog mapped.v", "read_liberty cells.lib", "flatten", "hierarchy -top component"]
    yosys.run([*commands, "write_verilog -sv -noattr all.sv"], folder)
    text = (folder / "all.sv").read_text().replace("module component", "module small_memory")
    quiet = "".join(f"/* verilator lint_off {what} */\n" for what in ("DECLFILENAME", "UNUSEDSIGNAL"))
    return quiet + text


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    tools, folder, parts = require_tools(), tmp_path_factory.mktemp("builds"), []
    inputs = {"write": 1, "write_at": ADDRESS, "write_data": WIDTH, "read_at": READS * ADDRESS}
    for build in (*RIGHT, *FAULTS):
        text = _cells(tmp_path_factory.mktemp("cells")) if build == "cells" else SOURCE
        if build in FAULTS:
            text = text.replace(*FAULTS[build])
            assert text != SOURCE
        (folder / f"small_memory_{build}.sv").write_text(
            text.replace("module small_memory", f"module small_memory_{build}")
        )
        sizes = {"WIDTH": WIDTH, "DEPTH": DEPTH, "READS": READS, "LATCHED": 0 if build == "registers" else DEPTH + 1}
        told = {} if build == "cells" else sizes
        parts.append(Component(f"small_memory_{build}", told, inputs, {"read_data": READS * WIDTH}))
    return Bench(parts, build_library(parts, tools, folder))


def _wrong(bench: Bench, build: str, cycles: list[Cycle]) -> bool:
    """Whether in either half of a cycle a word that is read is not what was written last before that cycle."""
    module, words = f"small_memory_{build}", dict[int, int]()

    def wrong(reads: list[int]) -> bool:
        found = bench.get(module, "read_data")
        return any(at in words and found >> WIDTH * n & (1 << WIDTH) - 1 != words[at] for n, at in enumerate(reads))

    bench.put(module, {"write": 0})
    bench.step()
    seen = False
    for write, at, data, reads in cycles:
        told = {"write": write, "write_at": at, "write_data": data}
        # What is written comes late: until then it may be anything.
        bench.edge(1)
        bench.put(module, {"read_at": pack(reads, ADDRESS)} | {name: ~value for name, value in told.items()})
        seen |= wrong(reads)
        bench.edge(0)
        bench.put(module, told)
        seen |= wrong(reads)
        if write:
            words[at] = data
    return seen


PLACES = st.integers(0, DEPTH - 1)


@pytest.mark.parametrize("build", RIGHT)
@settings(max_examples=100)
@given(
    cycles=st.lists(
        st.tuples(
            st.booleans(), PLACES, st.integers(0, (1 << WIDTH) - 1), st.lists(PLACES, min_size=READS, max_size=READS)
        ),
        max_size=40,
    )
)
def test_a_word_is_what_was_written_last(bench: Bench, build: str, cycles: list[Cycle]) -> None:
    assert not _wrong(bench, build, cycles)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(bench: Bench, fault: str) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers([2, DEPTH, 1 << WIDTH, *[DEPTH] * READS], size=(200, 3 + READS)).tolist()
    told = [(bool(write), at, data, reads) for write, at, data, *reads in drawn]
    assert not _wrong(bench, "latches", told) and _wrong(bench, fault, told)
