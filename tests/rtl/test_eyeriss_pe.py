"""PEs of the dense and sparse machines against a slow reference: every sum, and every cycle the model counts."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from rtl.bench import Bench, Component, build_library
from rtl.eyeriss_passes import TOGETHER, Sizes, Tile, cycles, drawn, finished, lists, partition, plan
from rtl.machines import require_tools

from predfuse.hardware.cycle.eyeriss.ways import nonzeros_before, sparse_cycles
from predfuse.rtl.build import SOURCES, Tools

SIZES = (
    Sizes(True, 32, 12, 4, 5),
    Sizes(True, 20, 5, 3),
    Sizes(True, 64, 4, 16, 2),
    Sizes(False, 16, 4, 2, 6),
    Sizes(False, 48, 12, 5),
)
FAULTS = {
    "a sum that stays": ("pe", " & {ACCUMULATOR{~last}}", "", 0),
    "a window that moves too far": ("walk", "base <= next_base", "base <= next_base == 1 ? 2 : next_base", 0),
    "a ring a word too large": ("ring", "(ADDRESS + 1)'(WORDS) : sum", "(ADDRESS + 1)'(WORDS + 1) : sum", 1),
    "a cycle between pixels": ("walk", "list_end <= told_end;", "list_end <= told_end + 1;", 3),
    "a cycle between weights": ("walk", "told & (~work | over)", "told & ~work", 3),
    "a pixel less": ("walk", "more == 0", "more <= 1", 3),
    "the wrong half": ("walk", "(taken ? half : second)", "second", 4),
    "a dropped bit": ("multiply_add", "2 * BITS)'(x)", "2 * BITS)'(x & -2)", 0),
    "a sum of other outputs": ("link", "joins & above_valid", "joins | above_valid", 0),
    "a sum that is not whole": ("link", "(own & {ACCUMULATOR{own_valid}})", "own", 0),
    "a row left out": ("link", "{ACCUMULATOR{comes}}", "{ACCUMULATOR{comes & own_valid}}", 0),
    "a sum that does not leave": ("link", "own_valid | comes", "own_valid", 0),
    "a row out of step": ("rows", "p % TOGETHER == 0", "p % TOGETHER == 3", 3),
    "a weight without its sign": ("multiply_add", "(2 * BITS)'(weight)", "(2 * BITS)'($unsigned(weight))", 4),
}  # fmt: skip
"""Of each: its module, what stands there once, what stands there instead, and the sizes that show it."""


def _write(folder: Path, tag: str, file: str = "", old: str = "", new: str = "") -> None:
    """The sources with every module's name marked, one of them changed."""
    names = [path.stem for path in (SOURCES / "eyeriss").glob("*.sv")]
    for name in names:
        text = (SOURCES / "eyeriss" / f"{name}.sv").read_text()
        if name == file:
            assert text.count(old) == 1, (file, old)
            text = text.replace(old, new)
        text = re.sub(rf"\b(module )?({'|'.join(names)})(?= #?\()", rf"\g<1>\g<2>{tag}", text)
        (folder / f"{name}{tag}.sv").write_text(text)


def _component(sizes: Sizes, tag: str) -> Component:
    pes, index = sizes.pes, 1 + sizes.sum + sizes.input
    own = {"WEIGHTS": sizes.weights, "INPUTS": sizes.inputs, "SUMS": sizes.sums, "PES": pes}
    inputs = {"rst": 1, "told": 1, "half": 1, "told_end": sizes.at, "told_slide": sizes.input, "told_more": 12}
    if not sizes.sparse:
        inputs |= {"write_index": 1, "write_index_at": sizes.at, "write_index_data": index}
    word = 16 + (index if sizes.sparse else 0)
    inputs |= {"write_weight": pes, "write_weight_at": pes * sizes.at, "write_weight_data": pes * word}
    inputs |= {"write_input": pes, "write_input_at": pes * sizes.input, "write_input_data": pes * 16}
    inputs["joins"] = pes
    outputs = {"taken": 1, "work": 1, "valid": pes, "sum": pes * 40}
    return Component(f"{'sparse_column' if sizes.sparse else 'dense_array'}{tag}", own, inputs, outputs)


class Pes:
    """PEs of some sizes in a bench."""

    def __init__(self, bench: Bench, component: Component, sizes: Sizes) -> None:
        self.bench, self.component, self.sizes = bench, component, sizes

    def run(self, rng: np.random.Generator, doubled: bool, every: bool = False) -> None:
        """Random passes, everything as planned, or an assertion fails; none lost where PEs have every output."""
        sizes, name = self.sizes, self.component.module
        groups = partition(rng, sizes.pes)
        tiles, made = drawn(rng, sizes, groups, doubled, every)
        joins = sum(1 << pe for group in groups for pe in group[1:])
        found: list[list[int]] = [[] for _ in groups]
        worked = 0
        for cycle, told in enumerate(plan(tiles, made, sizes, doubled, rng)):
            half, end, slide, more = told.tile or (0, 0, 0, 0)
            values = {"rst": cycle == 0, "told": told.tile is not None, "half": half, "told_end": end}
            values |= {"told_slide": slide, "told_more": more, "joins": joins}
            index_bits = 1 + sizes.sum + sizes.input
            if not sizes.sparse:
                at, data = told.index or (0, 0)
                values |= {"write_index": told.index is not None, "write_index_at": at, "write_index_data": data}
            word = 16 + (index_bits if sizes.sparse else 0)
            for port, written, address, width in (
                ("write_weight", told.weights, sizes.at, word),
                ("write_input", told.inputs, sizes.input, 16),
            ):
                values[port] = sum(1 << pe for pe in written)
                values[f"{port}_at"] = sum(at << address * pe for pe, (at, _) in written.items())
                values[f"{port}_data"] = sum(data << width * pe for pe, (_, data) in written.items())
            self.bench.put(name, {key: int(value) for key, value in values.items()})
            if cycle:
                assert self.bench.get(name, "work") == told.works, cycle
                worked += told.works
                valid, sums = (self.bench.get(name, port) for port in ("valid", "sum"))
                for seen, group in zip(found, groups, strict=True):
                    if cycle > group[-1] // TOGETHER and valid >> group[-1] & 1:
                        value = sums >> 40 * group[-1] & ((1 << 40) - 1)
                        seen.append(value - (value >> 39 << 40))
            self.bench.step()
        if every or not sizes.sparse:
            assert worked == cycles(tiles, sizes.sparse)
        else:
            most = sum(tile.pixels * tile.taken.shape[1] for tile in tiles)
            assert cycles(tiles, True) <= worked <= cycles(tiles, True) + most
        for number, (seen, pixels) in enumerate(zip(found, finished(tiles, groups, sizes), strict=True)):
            order: list[list[int]] = []
            for tile, own in zip(tiles, made, strict=True):
                order = [*order, *([] for _ in range(tile.pixels))] if tile.begins else order
                order[-tile.pixels :] = [[*one, *own.leave[number]] for one in order[-tile.pixels :]]
            assert len(seen) == sum(map(len, order))
            for pixel, (outputs, expected) in enumerate(zip(order, pixels, strict=True)):
                here, seen = dict(zip(outputs, seen, strict=False)), seen[len(outputs) :]
                assert here == expected or pixel == 0  # the first only clears sums


def _made(variants: dict[str, Sizes], folder: Path, faults: dict[str, tuple[str, str, str]]) -> dict[str, Pes]:
    (folder / "memory.sv").write_text((SOURCES / "memory.sv").read_text())
    components = {}
    for number, (name, sizes) in enumerate(variants.items()):
        _write(folder, f"_{number}", *faults.get(name, ()))
        components[name] = _component(sizes, f"_{number}")
    tools: Tools = require_tools()
    bench = Bench([*components.values()], build_library([*components.values()], tools, folder))
    return {name: Pes(bench, component, variants[name]) for name, component in components.items()}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> list[Pes]:
    return [*_made({str(sizes): sizes for sizes in SIZES}, tmp_path_factory.mktemp("right"), {}).values()]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pes]:
    variants = {name: SIZES[sizes] for name, (*_, sizes) in FAULTS.items()}
    faults = {name: fault for name, (*fault, _) in FAULTS.items()}
    return _made(variants, tmp_path_factory.mktemp("wrong"), faults)  # type: ignore[arg-type]


@given(
    number=st.integers(0, len(SIZES) - 1), doubled=st.booleans(), every=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_every_sum_and_every_cycle_is_that_of_the_reference(
    right: list[Pes], number: int, doubled: bool, every: bool, seed: int
) -> None:
    right[number].run(np.random.default_rng(seed), doubled, every)


def test_weights_loaded_beside_the_work_cost_no_cycle() -> None:
    """The plan the gateware is held to has no gap between tiles whose pixels last as long as a load."""

    def gaps(doubled: bool) -> int:
        rng = np.random.default_rng(0)
        shape = (SIZES[0].pes, 3, 4)
        tiles = [
            Tile(rng.integers(1, 9, shape), np.ones(shape[1:], np.bool_), np.ones((SIZES[0].pes, 6), np.int64), 3, 2)
            for _ in range(4)
        ]
        made = lists(tiles, [range(SIZES[0].pes)], SIZES[0])
        works = [told.works for told in plan(tiles, made, SIZES[0], doubled, rng)]
        return sum(one and not other for one, other in pairwise(works)) - 1

    assert gaps(True) == 0 and gaps(False) == 3


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(wrong: dict[str, Pes], fault: str) -> None:
    pes = wrong[fault]

    def differs(seed: int) -> bool:
        try:
            pes.run(np.random.default_rng(seed), bool(seed % 2))
        except AssertionError:
            return True
        return False

    assert any(map(differs, range(40)))


def test_the_reference_counts_as_the_model_does() -> None:
    """Cycles of a layer: those :func:`sparse_cycles` counts for its nest."""
    rng = np.random.default_rng(1)
    weight = rng.integers(-9, 9, (6, 8, 1, 1)) * (rng.random((6, 8, 1, 1)) < 0.3)
    nest = np.array([1, 1, 2, 3, 1, 2, 2, 1, 2, 1, 1, 1])  # 3 outputs and 2 inputs a PE, two PEs
    tiles = []
    for outputs in (0, 3):
        for inputs in (0, 4):
            held = [weight[outputs : outputs + 3, first : first + 2, 0, 0].T for first in (inputs, inputs + 2)]
            tiles.append(Tile(np.stack(held), np.ones((2, 3), np.bool_), np.ones((2, 2), np.int64), 2, 1))
    assert cycles(tiles, True) == sparse_cycles(nonzeros_before(weight, 1), 1, (6, 8), nest, 1, 1)[0]
