"""What single charges cost a fused network: docs/explanation/archon.md, "What eats the cycles".

    python tools/measure_charges.py [NETWORK:MACHINE ...]

For every row one charge of the model is lifted and all others stay; the last row lifts all of them, so that every
list takes a cycle and nothing waits: a bound for this number of multipliers, whatever is built around them.
Registered networks keep a fifth of their shifts and are calibrated, not trained. CIFAR-10 is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from predfuse.errors import InputError, PredfuseError
from predfuse.explore.evaluation import Subject
from predfuse.explore.networks import NetworkChoice, make_subject
from predfuse.explore.space import Value
from predfuse.hardware.evaluate import evaluate
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.hardware.vary import with_fields

CASES = ("cifar10-fusionet-n:archon-1.7-n", "cifar10-fusionet-m:archon-1.7-m", "fusionet:archon-3.2-fusionet")
SHIFT_SHARE = 0.2
"""Of a registered network."""
MANY = 64
"""So many lanes, or so many times a size, that it limits nothing."""
OWN = "design.structures."


def charges(spec: ArchonSpec) -> dict[str, dict[str, Value]]:
    """What is lifted, and the fields that lift it on a machine."""
    own = spec.design.structures
    assert own is not None
    buffer, gates = spec.global_buffer, spec.mask_buffer
    return {
        "bias sums": {"design.bias_sums": "free"},
        "lists longer than the lanes, two entries in a lane": {"pe.adders": MANY},
        "loads of a pass: more in a cycle": {f"{OWN}channel_loads": MANY * own.channel_loads},
        "predictions: units, inputs, gate words a cycle": {
            f"{OWN}predictor_units": own.hidden_plane_pixels,
            f"{OWN}predictor_inputs": 2 * own.predictor_inputs,
            f"{OWN}gate_writes": MANY,
            f"{OWN}gate_queue_words": MANY * own.gate_queue_words,
        },
        "gate memory that does not hold two tiles": {"mask_buffer.depth": MANY * gates.depth},
        "memories beside the lanes that do not hold two groups": {
            f"{OWN}{name}": MANY * getattr(own, name)
            for name in ("project_memory_words", "tap_memory_words", "column_buffer_words", "map_bits")
        }
        | {f"{OWN}{name}": 4 * getattr(own, name) for name in ("bank_channels", "bank_expand_words")},
        "partial sums of too few outputs": {"pe.psum_regfile_words": MANY * spec.pe.psum_regfile_words},
        "what the gateware is told, its plan of fills": {"design.streams": "estimated"},
        "buffer banks (four times as many)": {
            "global_buffer.banks": 4 * buffer.banks,
            "global_buffer.depth": 4 * buffer.depth,
        },
        "buffer too small for maps and weights": {"global_buffer.depth": MANY * buffer.depth},
        "DRAM": {"dram_bits_per_cycle": 1 << 24},
        "plain layers on real edges, a row of outputs a cycle": {"design.plain_layers": "even"},
        "pipeline fill": {"design.fill_cycles": 0},
        "pooling and residual additions": {"elementwise": "free"},
    }


def cycles_of(subject: Subject, spec: ArchonSpec, changes: Mapping[str, Value]) -> int:
    """Cycles of one image."""
    return evaluate(with_fields(spec, changes), subject.network, subject.masks).cycles


def column(case: str) -> dict[str, int]:
    """Cycles of a case, whole and saved by every charge that is lifted, by row."""
    name, _, machine = case.partition(":")
    choice = NetworkChoice(name=name)
    if not choice.trained:
        choice = choice.with_fields({"shift_share": SHIFT_SHARE})
    spec, subject = load_spec(machine), make_subject(choice)
    if not isinstance(spec, ArchonSpec) or spec.design.structures is None:
        raise InputError(machine, "is no fused machine with lane registers", "name an archon such as archon-1.7-n")
    lifted = charges(spec)
    whole = cycles_of(subject, spec, {})
    found = {"nothing: cycles": whole} | {
        what: whole - cycles_of(subject, spec, fields) for what, fields in lifted.items()
    }
    every = {field: value for fields in lifted.values() for field, value in fields.items()}
    return found | {"all of them: cycles left": cycles_of(subject, spec, every)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="NETWORK:MACHINE")
    cases = parser.parse_args().cases
    columns = {}
    for case in cases:
        print(f"{case} ...", file=sys.stderr)
        columns[case] = column(case)
    print(f"| free | {' | '.join(case.replace(':', ' on ') for case in cases)} |\n| --- |{' ---: |' * len(cases)}")
    for row in columns[cases[0]]:
        print(f"| {row} | {' | '.join(f'{columns[case][row]:,}' for case in cases)} |")


if __name__ == "__main__":
    try:
        main()
    except PredfuseError as error:
        raise SystemExit(f"error: {error}") from None
