"""Verilator's linter has nothing to say about the gateware, whatever its sizes; warnings are errors."""

from __future__ import annotations

import pytest
from rtl.machines import MID, SMALL, THREE, TINY, require_tools

from predfuse.errors import PredfuseError
from predfuse.hardware.cycle.archon.gateware import Machine
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.rtl.build import SOURCES


def _of(name: str) -> Machine:
    spec = load_spec(name)
    assert isinstance(spec, ArchonSpec)
    return Machine.of(spec)


MACHINES = {"small": SMALL, "tiny": TINY, "three lists": THREE, "middle": MID} | {
    name: _of(name) for name in ("archon", "archon-tiny", "archon-nano", "archon-1.7")
}


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_to_complain_of(name: str) -> None:
    sizes = [f"-G{key}={value}" for key, value in MACHINES[name].parameters().items()]
    sources = sorted(map(str, SOURCES.glob("*.sv")))
    assert not require_tools().verilate(["--lint-only", *sizes, *sources])


def test_a_wrong_width_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("lint")
    for path in SOURCES.glob("*.sv"):
        text = path.read_text().replace("SCORE'(total) - ", "total - ")
        (folder / path.name).write_text(text)
    sizes = [f"-G{key}={value}" for key, value in TINY.parameters().items()]
    with pytest.raises(PredfuseError, match="WIDTH"):
        require_tools().verilate(["--lint-only", *sizes, *sorted(map(str, folder.glob("*.sv")))])
