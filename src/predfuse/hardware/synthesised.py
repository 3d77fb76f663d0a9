"""Areas of an Archon's structures, and of what a rival's PEs have beside multipliers and memories, as gateware takes
them: counted in its bits, at prices that synthesis confirms.

Every figure that is no count of bits is that of a component, synthesised by ``predfuse rtl area`` into cells of 45 nm
at 5 ns; docs/explanation/hardware.md has the tables. Prices of bits are those of all machines.
"""

from __future__ import annotations

from predfuse.hardware.cycle.archon.gateware import BANK_REGIONS, Machine, bits_for, records, together
from predfuse.hardware.cycle.archon.maps import PITCHES, rows_at
from predfuse.hardware.field_types import WORD_BITS
from predfuse.hardware.fields import ArchonSpec, EyerissSpec
from predfuse.hardware.price_rules import AreaRules
from predfuse.hardware.prices import (
    LATCHED_WORDS,
    SELECT_BIT_UM2,
    SHIFT_STAGES,
    SUM_SURPLUS,
    memory_um2,
    product_share,
    small_sram_um2,
    structure_areas_um2,
    sum_bits,
)

FINISHING_UM2, FINISHED_BITS = 2_253, 40
"""Bias, rounding shift, residual and saturation of one output in a cycle (um2), from sums of so many bits."""
FURTHER_UM2 = 1_950
"""The same for one output of a row that leaves beside another (um2)."""
OUTPUT_UM2, RESIDUAL_UM2 = 880, 630
"""The same without residual and registers, for an output of a rival; what a residual takes beside it (um2)."""
CROSSING_BIT_UM2 = 1.95
"""One bit of a crossing in the load network, its drivers included (um2)."""
PIPELINE_BIT_UM2 = 4.52
"""A flip-flop written in every cycle (um2)."""
SHIFTS_BITS = 26
"""Shifts and exponents of an output, all outputs at hand (bits)."""
STATE_BITS = 120
"""Of the passes that are loaded and sent, beside the records of two groups (bits)."""
CHOSEN_BIT_UM2 = 0.96
"""A bit of a record of the write port among which a bank chooses by the region (um2)."""
SPREAD_BIT_UM2 = 9.2
"""One bit more of an access of several rows, turned to its place in a line (um2)."""
CHANNEL_BITS = 16
"""Of the number of an output's channel, by which the store finds its plane (bits)."""
SLOT_BITS = 4
"""Of a channel at hand in a bank: how many rows its project weights are (bits)."""
RANKS = 4
"""Ones below a slot are counted so often for a member: in the maps of its tap and its column, and for its words."""
TERM_BITS = 8
"""Of the adder of a term in the predictor: an activation of 5 bits times 4, and the sign (bits)."""
TERM_WAYS = 3
"""An operand is taken once, twice or four times."""
ACTIVATED_BIT_UM2 = 8.1
"""One bit of what is shifted and clamped to an activation (um2)."""
MOVED_SURPLUS = 10
"""What the shifter of a fused weight takes beyond a product of two words: the eight more of a bias, rounding (bits)."""
CLEARED_BIT_UM2 = 1.36
"""One bit of a sum that becomes zero as it leaves a rival's PE, its driver included (um2)."""
LINKED_BIT_UM2 = 2.57
"""One bit of a sum on its way along a column, beside its adder: whether it comes, whether a PE adds to it (um2)."""
TURNED_BIT_UM2 = 1.86
"""One bit of a line that is moved to another column or not (um2)."""
LINKED_ROWS = 4
"""Rows of a column that a sum passes in a cycle."""
RING_END_UM2 = 9.0
"""Of a sum of addresses in a ring whose size is no power of two, what brings it back to the begin (um2)."""
WALK_BIT_UM2 = 9.1
"""One bit of what leads the PEs that are in step: a flip-flop with its counting and choosing (um2)."""
WALK_BITS = 14
"""Of it, beside two addresses of a weight and two of an input: pixels left, a half of the weights, what it is at."""


def finishing_um2(spec: ArchonSpec) -> float:
    """What finishes one output in a cycle (um2): synthesised for sums of 40 bits, others by their width."""
    return FINISHING_UM2 * (2 * spec.bits + SUM_SURPLUS) / FINISHED_BITS


def output_um2(spec: EyerissSpec) -> float:
    """What makes an output of a sum in a cycle, on the dense or sparse machine (um2).

    Source: docs/explanation/hardware.md, Outputs of the rivals.
    """
    return OUTPUT_UM2 * sum_bits(spec) / FINISHED_BITS + sum_bits(spec) * PIPELINE_BIT_UM2


def residual_um2(spec: EyerissSpec) -> float:
    """What adds a residual to an output (um2). Source: docs/explanation/hardware.md, Outputs of the rivals."""
    return RESIDUAL_UM2 * spec.bits / WORD_BITS


def index_bits(spec: EyerissSpec) -> int:
    """What a weight of a list says beside its value: its input, its sum, whether it is the last of that sum (bits).

    Source: docs/explanation/hardware.md, A PE of the rivals.
    """
    return 1 + bits_for(spec.pe.ifmap_regfile_words) + bits_for(spec.pe.psum_regfile_words)


def rival_control_um2(spec: EyerissSpec) -> dict[str, tuple[int, float]]:
    """What a rival's PEs have beside multipliers and memories, and what leads them: how many, and what one takes (um2).

    PEs of the dense machine are all in step, those of the sparse one by columns, since groups worked on at once have
    columns of their own. The former share one index of every weight, the latter have it beside their weights. Sums are
    added up along columns: an adder a row after the first, which the mapping may leave out of any.

    Source: docs/explanation/hardware.md, A PE of the rivals.
    """
    rules, words = spec.price_rules, spec.pe.weight_sram_words
    area, inputs, index = rules.area_um2, spec.pe.ifmap_regfile_words, index_bits(spec)
    ring = max(0, bits_for(inputs) - 1) * area.adder_bit + (RING_END_UM2 if inputs & (inputs - 1) else 0.0)
    leading = (WALK_BITS + 2 * bits_for(words) + 2 * bits_for(inputs)) * WALK_BIT_UM2 + ring
    own = sum_bits(spec) * CLEARED_BIT_UM2
    rows, columns = spec.array.rows, spec.array.columns
    stops = (rows - 1) // LINKED_ROWS  # between rows that work a cycle apart
    led = 1 + bits_for(words) + (index if spec.kind == "dense" else bits_for(inputs))
    held = sum_bits(spec) + 1 + (led / columns if spec.kind == "dense" else led)
    linked = (rows - 1) * sum_bits(spec) * (area.adder_bit + LINKED_BIT_UM2) + stops * held * PIPELINE_BIT_UM2
    turned = columns * spec.bits * bits_for(columns) * TURNED_BIT_UM2
    between = {"sums between PEs": (columns, linked), "words to columns": (1, turned)}
    if spec.kind == "dense":
        return {
            "PE control": (spec.array.pes, own),
            "control of PEs in step": (1, leading + ring),
            "weight indices": (1, memory_um2(words, index, rules)),
        } | between
    made = max(words, LATCHED_WORDS)
    wider = small_sram_um2(made, spec.bits + index, rules) - small_sram_um2(made, spec.bits, rules)
    indices = min(wider, index * (words * (area.latch + SELECT_BIT_UM2) + area.flip_flop))
    own += ring
    return {
        "PE control": (spec.array.pes, own),
        "control of PEs in step": (spec.array.columns, leading),
        "weight indices": (spec.array.pes, indices),
    } | between


def synthesised_areas_um2(spec: ArchonSpec) -> dict[str, float]:
    """What takes the place of :func:`predfuse.hardware.prices.structure_areas_um2` (um2), by name.

    Structures that are not named here cost what they do there: gate network, hidden planes, tap selectors.
    """
    rules = spec.price_rules
    area, own, machine = rules.area_um2, spec.design.structures, Machine.sized(spec)
    assert own is not None
    pixels, lanes, lists, banks = machine.pixels, machine.lanes, machine.lists, machine.banks
    stored = area.flip_flop + area.mux_bit  # a bit in a register that is picked among others
    word = records(machine)
    bits, factor, moved = spec.bits, spec.bias_bits, 2 * spec.bits + MOVED_SURPLUS
    row = pixels + factor + bits + word["project"].bits
    sent = pixels + factor + 2 * bits
    first, second = (area.multiplier * product_share(wide, bits) for wide in (factor, factor + 2))
    generator = first + second + SHIFT_STAGES * moved * area.mux_bit
    generator += (moved + bits) * area.adder_bit + (2 * moved) * area.flip_flop
    term = TERM_BITS * area.adder_bit + TERM_WAYS * (spec.activation_bits + 1) * area.mux_bit
    turns = machine.turns(machine.side)
    # Inputs of all turns are shifted, and held for all their rounds, of which one is chosen; a score is shifted too.
    unit = machine.inputs * (term + spec.activation_bits * area.mux_bit)
    unit += machine.held * spec.activation_bits * (area.flip_flop + (turns - 1) * area.mux_bit)
    unit += turns * bits * ACTIVATED_BIT_UM2
    unit += own.predictor_channels * machine.expand_score * (area.flip_flop + ACTIVATED_BIT_UM2)
    region = bits_for(machine.gate_words) + bits_for(machine.tap_words)
    at_hand = SLOT_BITS * machine.slots + 2 * (machine.taps + 1) * region  # bases of two groups
    chosen = sum(machine.copies(name) * one.bits for name, one in word.items() if one.region in BANK_REGIONS)
    rank = RANKS * machine.slots * area.adder_bit
    search = machine.slots * (4 * area.adder_bit + 5 * area.mux_bit) + (machine.slots + 14) * area.flip_flop

    def memory(kind: str, records: int, record_bits: int) -> float:
        """In all banks, as many records of a kind in a word as the write port brings at once."""
        count = together(machine)[kind]
        return banks * memory_um2(-(-records // count), count * record_bits, rules)

    columns = memory("expand", machine.column_words, bits) + memory("column", machine.columns, word["column"].bits)
    maps = banks * machine.slots * (machine.taps + 2)
    port = bits * machine.line
    further = (machine.finished_rows - 1) * FURTHER_UM2 / FINISHING_UM2
    outputs = lists * pixels * sum_bits(spec) * SELECT_BIT_UM2 + machine.tile_columns * bits * PIPELINE_BIT_UM2
    return structure_areas_um2(spec) | {
        "lane registers": lanes * (2 * machine.lane_rows * row + lists * sent) * area.flip_flop,
        "load network": min(banks * lanes, own.channel_loads * (banks + lanes)) * row * CROSSING_BIT_UM2,
        "fused-weight multipliers": lanes * lists * generator,
        "project memory": memory("project", machine.project_rows, word["project"].bits),
        "tap memory": memory("depthwise", machine.tap_words, bits),
        "column buffers": columns,
        "bias memories": memory("slot", machine.slots, 2 * factor + bits_for(machine.project_rows)),
        "weight maps": (maps + banks * at_hand) * stored + banks * rank,
        "member search": banks * search,
        "gate write queues": banks * machine.queue * (pixels + bits_for(machine.gate_words)) * stored,
        "predictor, first stage": own.predictor_units * unit,
        "predictor, second stage": pixels * own.predictor_channels * machine.taps * term,
        "channel records": word["channel"].bits
        * ((together(machine)["channel"] - 1) * area.mux_bit + PIPELINE_BIT_UM2),
        "gate placers": banks * pixels * bits_for(pixels) * area.mux_bit,
        "input multiplexers": lists * pixels * (2 * lanes * PIPELINE_BIT_UM2 + bits * area.mux_bit),
        "fill": _fill_um2(machine, stored),
        "command unit": machine.command_bits * (port // machine.command_bits + 1) * (area.flip_flop + CROSSING_BIT_UM2),
        "output store": machine.tile_columns * bits * area.flip_flop
        + 2 * port * CROSSING_BIT_UM2
        + area.multiplier * product_share(CHANNEL_BITS, bits_for(machine.buffer_lines))
        + _further_rows_um2(machine, area),
        "output registers": 0.0,  # sums wait in their second port
        "finishing": machine.tile_columns * (1 + further) * finishing_um2(spec) + outputs,
        "control": (machine.outputs * SHIFTS_BITS + 2 * word["group"].bits) * stored
        + STATE_BITS * area.flip_flop
        + chosen * CHOSEN_BIT_UM2,
    }


def _further_rows_um2(machine: Machine, area: AreaRules) -> float:
    """What a store of several rows in an access has beside that of one (um2): registers, distances, wider turns."""
    further, row = machine.finished_rows - 1, machine.bits * machine.tile_columns
    reach = min(machine.line, further * PITCHES[-1] * machine.buffer_pixels + machine.tile_columns)
    spread = machine.bits * reach - row if further else 0
    return further * row * (area.flip_flop + len(PITCHES) * area.mux_bit) + spread * SPREAD_BIT_UM2


def _fill_um2(machine: Machine, stored: float) -> float:
    """The fill unit (um2): lines are turned, rows of an access find their places, parts of a word and rows are held."""
    port, row = machine.bits * machine.line, machine.bits * max(machine.plane_columns, machine.side)
    some, rows, held = machine.access_rows, max(machine.plane_rows, machine.side), 0
    for unit in range(max(-(-rows // some), -(-machine.data // port))):
        held += max(min(port, machine.data - unit * port), row * min(some, rows - unit * some))
    ways = sum(len({place % rows_at(words, machine) * words for words in (0, *PITCHES)}) for place in range(1, some))
    turns = port * (bits_for(machine.line) + 1) * CROSSING_BIT_UM2
    return held * stored + turns + row * (ways + some - 1) * SELECT_BIT_UM2
