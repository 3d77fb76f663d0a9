"""Run the searches behind the shipped machines again, and hold what they find against what ships.

    python tools/search_machines.py DIR                       # all of them: hours
    python tools/search_machines.py DIR sparse-1.7 dense-1.7  # some
    python tools/search_machines.py DIR archon-1.7 --write    # and put what was found in place of what ships

The command of a search is the ``source`` of the machine's specification. Searches go on where they were stopped.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from predfuse.explore.space import Space, load_space
from predfuse.hardware.spec import load_spec, names

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "src" / "predfuse" / "hardware" / "specs"
SEARCH = "predfuse explore "
TEXTS = {"name", "description", "source"}


def searched() -> list[str]:
    """The machines that come from a search."""
    return [name for name in names() if load_spec(name).source.startswith(SEARCH)]


def head_of(name: str) -> str:
    """The comment a search wrote above a specification, in one line."""
    lines = (SPECS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))


def search_of(name: str) -> tuple[list[str], Space]:
    """The words of the command that searched for a machine, and the space it names with them."""
    words = shlex.split(load_spec(name).source)
    _, _, file, *options = words
    given = dict(zip(options[::2], options[1::2], strict=True))
    if unread := given.keys() - {"--area", "--network", "--evaluations", "--begin"}:
        raise ValueError(f"{name}: its source has the option {min(unread)}, which is not read here")
    area = float(given["--area"]) if "--area" in given else None
    evaluations = int(given["--evaluations"]) if "--evaluations" in given else None
    begin = [given["--begin"]] if "--begin" in given else []
    return words, load_space(ROOT / file, area, given.get("--network"), evaluations, begin)


def run(name: str, folder: Path, jobs: int) -> dict[str, Any]:
    """The result of the search behind a machine."""
    command = [sys.executable, "-m", *search_of(name)[0], "-o", str(folder), "-j", str(jobs)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def in_words(network: dict[str, Any]) -> str:
    """A network of a search as the head of a specification names it."""
    options = "".join(f", {key} {value}" for key, value in network["options"].items())
    pruned = {"nothing": "not pruned", "blocks": "blocks pruned", "everything": "every 1x1 layer pruned"}
    kept = "" if network["shift_share"] == 1 else f", {network['shift_share']:.0%} of the shifts"
    trained = "" if network["name"].startswith(("cifar10-", "fashion-mnist-")) else ", calibrated, not trained"
    state = "fused" if network["fused"] else "unfused"
    return f"{network['name']} ({state}, {pruned[network['pruned']]}{options}{kept}{trained})"


def specification(name: str, found: dict[str, Any], machine: Path) -> str:
    """The text of a specification: what the search wrote, under the machine's own name and with its figures."""
    spec, best, space = load_spec(name), found["front"][0], found["space"]
    metrics = best["metrics"]
    head = (
        f"The best of {len(found['rows'])} machines evaluated for `{spec.source}` ({space['sampler'].upper()}, then "
        f"refined; seed {space['seed']}, point {best['number']}): least energy times delay for one image of "
        f"{in_words(space['network'])}: {metrics['total_cycles']:,.0f} cycles, {metrics['energy_uj']:.2f} uJ, "
        f"{metrics['area_mm2']:.3f} mm2."
    )
    document = yaml.safe_load(machine.read_text(encoding="utf-8"))
    document |= {"name": name, "description": spec.description, "source": spec.source}
    document = {key: document[key] for key in ("name", "description", "source", *document)}
    comment = textwrap.fill(head, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    return f"{comment}\n{yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the searches are kept, a folder each")
    parser.add_argument("machines", nargs="*", help="of those that ship; all if none is named")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="processes of a search")
    parser.add_argument("--write", action="store_true", help="put what was found in place of what ships")
    given = parser.parse_args()
    known = searched()
    if unknown := sorted(set(given.machines) - set(known)):
        parser.error(f"{', '.join(unknown)}: no shipped machine that was searched; use {', '.join(known)}")
    differing = 0
    print("| machine | network | evaluations | cycles | uJ | mm2 | |\n| --- | --- | ---: | ---: | ---: | ---: | --- |")
    for name in given.machines or known:
        folder = given.folder.absolute() / name
        folder.mkdir(parents=True, exist_ok=True)
        found = run(name, folder, given.jobs)
        (machine,) = folder.glob(f"*-{found['front'][0]['number']}.yaml")
        same = load_spec(machine).model_dump(exclude=TEXTS) == load_spec(name).model_dump(exclude=TEXTS)
        differing += not same
        metrics = found["front"][0]["metrics"]
        cells = [
            name,
            in_words(found["space"]["network"]),
            str(len(found["rows"])),
            f"{metrics['total_cycles']:,.0f}",
            f"{metrics['energy_uj']:.1f}",
            f"{metrics['area_mm2']:.3f}",
            "as shipped" if same else "differs from what ships",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
        if given.write:
            (SPECS / f"{name}.yaml").write_text(specification(name, found, machine), encoding="utf-8")
    return int(differing > 0 and not given.write)


if __name__ == "__main__":
    sys.exit(main())
