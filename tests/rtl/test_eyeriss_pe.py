"""PEs of the dense and sparse machines against a slow reference: every sum, and every cycle the model counts."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from rtl.bench import Bench, Component, build_library
from rtl.eyeriss_passes import Sizes, Tile, cycles, finished, plan, sequences
from rtl.machines import require_tools

from predfuse.hardware.cycle.eyeriss.ways import nonzeros_before, sparse_cycles
from predfuse.rtl.build import SOURCES, Tools

SIZES = (
    Sizes(True, 32, 12, 4),
    Sizes(True, 20, 5, 3),
    Sizes(True, 64, 4, 16, 2),
    Sizes(False, 16, 4, 2),
    Sizes(False, 48, 12, 5),
)
FAULTS = {
    "a list that does not end": ("sparse_pe", "weight == 0 |", "", 0),
    "a list that ends for good": ("sparse_pe", "~restart", "~(restart & weight[0])", 0),
    "a sum that stays": ("pe", " & {ACCUMULATOR{~last}}", "", 0),
    "a window that moves too far": ("walk", "base <= next_base", "base <= next_base == 1 ? 2 : next_base", 0),
    "a ring a word too large": ("ring", "(ADDRESS + 1)'(WORDS) : sum", "(ADDRESS + 1)'(WORDS + 1) : sum", 1),
    "a cycle between pixels": ("walk", "list_end <= told_end;", "list_end <= told_end + 1;", 3),
    "a cycle between weights": ("walk", "told & (~work | over)", "told & ~work", 3),
    "a pixel less": ("walk", "more == 0", "more <= 1", 3),
    "the wrong half": ("walk", "(taken ? half : second)", "second", 4),
    "a dropped bit": ("multiply_add", "2 * BITS)'(x)", "2 * BITS)'(x & -2)", 0),
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
    outputs = {"taken": 1, "work": 1, "valid": pes, "total": pes * 40}
    outputs["sum_at"] = sizes.sum * (pes if sizes.sparse else 1)
    return Component(f"{'sparse_column' if sizes.sparse else 'dense_array'}{tag}", own, inputs, outputs)


class Pes:
    """PEs of some sizes in a bench."""

    def __init__(self, bench: Bench, component: Component, sizes: Sizes) -> None:
        self.bench, self.component, self.sizes = bench, component, sizes

    def run(self, tiles: list[Tile], doubled: bool, rng: np.random.Generator) -> None:
        """Everything as planned, or an assertion fails."""
        sizes, name = self.sizes, self.component.module
        found: list[list[tuple[int, int]]] = [[] for _ in range(sizes.pes)]
        worked = 0
        for cycle, told in enumerate(plan(tiles, sizes, doubled, rng)):
            half, end, slide, more = told.tile or (0, 0, 0, 0)
            values = {"rst": cycle == 0, "told": told.tile is not None, "half": half, "told_end": end}
            values |= {"told_slide": slide, "told_more": more}
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
                valid, total, sum_at = (self.bench.get(name, port) for port in ("valid", "total", "sum_at"))
                for pe in range(sizes.pes):
                    if valid >> pe & 1:
                        own = sum_at >> sizes.sum * pe if sizes.sparse else sum_at
                        value = total >> 40 * pe & ((1 << 40) - 1)
                        found[pe].append((own & ((1 << sizes.sum) - 1), value - (value >> 39 << 40)))
            self.bench.step()
        assert worked == cycles(tiles, sizes.sparse)
        for seen, pixels in zip(found, finished(tiles, sizes), strict=True):
            assert len(seen) == sum(map(len, pixels))
            for number, pixel in enumerate(pixels):
                here, seen = dict(seen[: len(pixel)]), seen[len(pixel) :]
                assert here == pixel or number == 0  # the first only clears sums


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


@given(number=st.integers(0, len(SIZES) - 1), doubled=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_every_sum_and_every_cycle_is_that_of_the_reference(
    right: list[Pes], number: int, doubled: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    right[number].run([*sequences(rng, SIZES[number], doubled)], doubled, rng)


def test_weights_loaded_beside_the_work_cost_no_cycle() -> None:
    """The plan the gateware is held to has no gap between tiles whose pixels last as long as a load."""

    def gaps(doubled: bool) -> int:
        rng = np.random.default_rng(0)
        shape = (3, 3, 4)
        tiles = [
            Tile(rng.integers(1, 9, shape), np.ones(shape[1:], np.bool_), np.ones((3, 6), np.int64), 3, 2)
            for _ in range(4)
        ]
        works = [told.works for told in plan(tiles, SIZES[0], doubled, rng)]
        return sum(one and not other for one, other in pairwise(works)) - 1

    assert gaps(True) == 0 and gaps(False) == 3


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(wrong: dict[str, Pes], fault: str) -> None:
    pes = wrong[fault]

    def differs(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        doubled = bool(seed % 2)
        try:
            pes.run([*sequences(rng, pes.sizes, doubled)], doubled, rng)
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
