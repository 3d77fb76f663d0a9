"""The bits the cycle model charges a group for what its lists are told are those of the words it is told in."""

from __future__ import annotations

from hypothesis import assume, given, settings
from integer.block_cases import compiled
from strategies import BlockCase, bottlenecks

from predfuse.hardware.block_work import block_work
from predfuse.hardware.cycle.archon.gateware import Machine, records
from predfuse.hardware.cycle.archon.group_plan import factor_bits, plan_groups
from predfuse.hardware.cycle.archon.sequence.flow import Chain
from predfuse.hardware.cycle.archon.sequence.group import BEHIND_LISTS
from predfuse.hardware.cycle.archon.sequence.order import order
from predfuse.hardware.spec import ArchonSpec, load_spec
from predfuse.integer.options import CompileOptions
from predfuse.rtl.streams import emit_group
from predfuse.rtl.words import Word


@settings(max_examples=30)
@given(bottlenecks(with_predictor=True))
def test_charged_bits_are_those_of_the_words(case: BlockCase) -> None:
    spec = load_spec("archon")
    assert isinstance(spec, ArchonSpec)
    machine = Machine.of(spec)
    assume(case.block.depthwise_weight.shape[1] <= machine.kernel and case.block.stride <= 2)
    node = compiled(case, CompileOptions(sum_bits=20, accumulator_bits=40))
    shape = (case.x.shape[0], case.x.shape[1], case.x.shape[2])
    work = block_work(node.as_bottleneck(), shape)
    known = records(machine)
    maps = {"column": machine.slots, "slot": 2 * spec.bias_bits}
    streams = [emit_group(node, shape, group, machine) for group in range(work.groups)]
    behind = {
        item.group.number
        for item in order(Chain((tuple(one.sizes for one in streams),), (False,)), [0])
        if item.how == BEHIND_LISTS
    }
    fields = {name: width for name, width, _ in known["channel"].fields}
    # Weights are charged by what the specification stores of them, wanted gate words follow from the maps.
    follows = 3 * (machine.held + machine.taps) + machine.taps + 1
    # What is not predicted behind lists comes in the order of its places and waits for no release.
    placed = sum(fields[name] for name in ("bank", "slot", "release"))
    for group, plan in enumerate(plan_groups(work, spec)):
        words = streams[group].words
        maps["channel"] = follows + (group not in behind) * placed

        def told(*names: str, words: tuple[Word, ...] = words) -> int:
            return sum(
                known[name].bits - maps.get(name, 0)
                for name in names
                for word in words
                if word.region == known[name].region
            )

        codes = told("pass", "code")
        assert plan.sent_bits == codes
        assert plan.weight_bits - factor_bits(work, group, spec) == codes + told(
            "group", "rule", "bases", "slot", "column"
        )
        stored = plan.channels * (work.group_channels + work.taps)
        assert plan.predictor_bits - stored * spec.predictor_weight_bits(work.largest_predictor_weight) == told(
            "channel"
        )
