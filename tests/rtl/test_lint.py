"""Verilator's linter has nothing to say about the gateware of any shipped machine; warnings are errors.

Machines of the tests are built with the same options, so that none of them has anything to complain of either.
"""

from __future__ import annotations

import pytest
from rtl.machines import TINY, require_tools

from predfuse.errors import InputError, PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.spec import ArchonSpec, EyerissSpec, load_spec, names
from predfuse.rtl.build import SOURCES


def _shipped() -> dict[Machine, str]:
    """Every machine that has gateware, one name each: some differ in what only the model knows."""
    found: dict[Machine, str] = {}
    for name in names():
        spec = load_spec(name)
        if isinstance(spec, ArchonSpec) and name != "archon-ics21":
            found.setdefault(Machine.of(spec), name)
    return found


@pytest.mark.parametrize("machine", [pytest.param(machine, id=name) for machine, name in _shipped().items()])
def test_nothing_to_complain_of(machine: Machine) -> None:
    sizes = [f"-G{key}={value}" for key, value in machine.parameters().items()]
    sources = sorted(map(str, SOURCES.glob("*.sv")))
    assert not require_tools().verilate(["--lint-only", *sizes, *sources])


@pytest.mark.parametrize("name", [name for name in names() if isinstance(load_spec(name), EyerissSpec)])
def test_nothing_to_complain_of_in_a_rival(name: str) -> None:
    spec = load_spec(name)
    assert isinstance(spec, EyerissSpec)
    pe = spec.pe
    sizes = {"WEIGHTS": pe.weight_sram_words, "INPUTS": pe.ifmap_regfile_words, "SUMS": pe.psum_regfile_words}
    sizes["PES"] = spec.array.rows
    told = [f"-G{key}={value}" for key, value in sizes.items()]
    top = ["--top-module", "dense_array" if spec.kind == "dense" else "sparse_column"]
    sources = map(str, (SOURCES / "memory.sv", *sorted((SOURCES / "eyeriss").glob("*.sv"))))
    assert not require_tools().verilate(["--lint-only", *top, *told, *sources])


def test_the_published_machine_has_no_gateware() -> None:
    spec = load_spec("archon-ics21")
    assert isinstance(spec, ArchonSpec)
    with pytest.raises(InputError, match="has no gateware"):
        Machine.of(spec)


def test_a_wrong_width_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("lint")
    for path in SOURCES.glob("*.sv"):
        text = path.read_text().replace("SCORE'(64 * TERMS)", "64 * TERMS")
        (folder / path.name).write_text(text)
    sizes = [f"-G{key}={value}" for key, value in TINY.parameters().items()]
    with pytest.raises(PredfuseError, match="WIDTH"):
        require_tools().verilate(["--lint-only", *sizes, *sorted(map(str, folder.glob("*.sv")))])


def test_no_component_is_longer_than_a_module_may_be() -> None:
    assert max(len(path.read_text().splitlines()) for path in SOURCES.glob("*.sv")) <= 400
