"""Microarchitecture of an Archon: what its lists, gates, predictor and buffers may do in a cycle.

Used at ``cycle`` fidelity. Every choice is one field; ``predfuse explore`` searches over them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from predfuse.hardware.field_types import Count, Part
from predfuse.predictor.format import LargestWeight

MOST_PIXELS = 64
"""A gate word is one 64-bit integer."""
Share = Annotated[int, Field(ge=0, le=1 << 32)]


class Structures(Part):
    """Sizes of the structures the published machine does not have."""

    lane_registers: Count
    """Channels a lane holds in one of its two sets of registers (count)."""
    channel_loads: Count
    """Channels that travel from the memories to the lanes in a cycle (count)."""
    project_row_words: Count
    """Project weights of one channel read at once (words)."""
    project_memory_words: Count
    """Project weights held for one group (words)."""
    tap_memory_words: Count
    """Depthwise weights held for one group (words)."""
    column_buffer_words: Count
    """Expand weights of one input channel held (words), twice; more are read from the global buffer. They cost area at
    the published prices; at those of synthesis ``bank_expand_words`` does."""
    map_bits: Count
    """Bits that say which taps, which outputs and which of two input columns the channels of a group have (bits), kept
    beside the memories of the weights themselves. They cost area at the published prices; at those of synthesis
    ``bank_channels`` does."""
    bank_channels: Annotated[int, Field(ge=2, le=1024, multiple_of=2)] = 64
    """Channels a bank beside the lanes holds, of one group or of two (count): as wide is the search for members."""
    bank_expand_words: Annotated[int, Field(ge=32, le=1 << 16, multiple_of=32)] = 512
    """Expand weights a bank beside the lanes holds, of one group or of two (words)."""
    port_records: Literal[1, 2, 4, 8, 16] = 16
    """Records of a kind that one word of the port into the memories beside the lanes brings to a bank at most (count):
    more fill faster and make wider memories."""
    access_rows: Literal[1, 2, 4, 8, 16] = 1
    """Rows of a plane that the fill unit brings in one access of the global buffer at most (count), where they lie a
    power of two words apart and the banks suffice."""
    finished_rows: Literal[1, 2, 4, 8] = 1
    """Rows of a tile that become outputs and are written in a cycle (count), where rows of their map lie a power of two
    words apart and the banks suffice; elsewhere one."""
    gate_queue_words: Count
    """Gate words that wait at every bank for a cycle in which it is not read (count)."""
    load_bits: Count
    """Bits of an instruction that loads a channel: its lane. Which channels a pass has, the bits of their taps say."""
    input_plane_pixels: Count
    """Input pixels of one channel held in registers, shifted from tap to tap (count), twice; larger tiles are read
    from the global buffer anew for every tap."""
    predictor_units: Count
    """Pixels the predictor expands at once (count)."""
    predictor_inputs: Count
    """Additions of a unit in a cycle (count)."""
    predictor_channels: Count
    """Middle channels a unit can work on at once (count), if its inputs suffice."""
    predictor_taps: Count
    """Depthwise additions of the predictor per pixel, channel and cycle (count)."""
    hidden_plane_pixels: Count
    """First-stage activations and masks of one channel held in registers (count), twice; tiles that need more are
    predicted in parts."""
    gate_writes: Count
    """Gate words written in a cycle (count)."""
    channel_bits: Count
    """Offsets and shift of the predictor per middle channel, as stored (bits)."""


class ArchonDesign(Part):
    """What Archon may do in a cycle."""

    tile_rows: Count
    """Rows of output pixels worked on at once (count)."""
    tile_columns: Count
    """Columns of output pixels worked on at once (count); at most 64 pixels, one bit of a gate word each."""
    parallel_lists: Count
    """PEs per pixel: lists multiplied in one cycle (count)."""
    lanes: Count | None = None
    """Entries of a list sent in a cycle (count); null: one per adder of a PE. More than that is an idealisation."""
    gates: Literal["private", "registers"]
    """Where gates come from: each PE's own mask memory, as published: fused weights are fetched for every tile, list by
    list; or registers beside the lanes, loaded once for all lists of an input channel and tap: fused weights are
    multiplied from their factors on chip, and what has no weights is left out."""
    bias_sums: Literal["lists", "free"]
    """How shifts of the batch norms are added: as lists of their own, or (an idealisation) for nothing."""
    predictor: Literal["shared", "dedicated"]
    """The PEs' adders, before the main work, or adders of its own, beside the main work of the tile before."""
    largest_predictor_weight: LargestWeight = 1
    """Largest magnitude of the predictor's weights: 1, ternary ones; 2 or 4: 0 and powers of two up to it, with sign.
    Adders of its own are wider for it then at the published prices, at those of synthesis always; the PEs' narrow ones
    are not wide enough."""
    predictor_order: Literal["layer", "tile"]
    """Whole layers, activations and masks spilled to the DRAM where the buffers are too small; or tile by tile on chip,
    halos computed again."""
    predictor_packing: Literal["full", "channels"]
    """All adders always full, over a layer (an idealisation); or as many whole channels at once as there is room."""
    plain_layers: Literal["even", "mapped", "mapped_groups"]
    """Multiplications spread evenly over all PEs (an idealisation); or one pixel or one output a PE. Then the PEs of a
    pixel take outputs of one group of channels, as they share its input plane; or of any, every one of them with input
    planes of its own."""
    weight_fill: Literal["alone", "beside"] = "alone"
    """When the factors of the next group move from the global buffer into the memories beside the lanes: between the
    work of two groups, or beside the lists of the first where the memories hold both, in cycles of a bank in which the
    lists read nothing. Gateware fills as its plan says, whatever stands here."""
    streams: Literal["estimated", "gateware"] = "estimated"
    """What a group is told: ``load_bits`` a load and ``channel_bits`` a channel, on a hidden plane of any shape; or
    every word of the gateware, with biases read for every tile, on a square hidden plane, and every access of its fill
    unit, one a cycle; a fused block then takes the cycles of its gateware, if that holds it."""
    fill_cycles: Share
    """Cycles to fill the pipelines at the start of every prediction and of every tile (cycles)."""
    structures: Structures | None = None
    """What gates in registers, generated weights and a dedicated predictor need."""


def first_conflict(design: ArchonDesign, pes: int) -> tuple[str, str, str] | None:
    """The first pair of choices that cannot go together: field, what is wrong, how to mend it; None if all fit.

    Args:
        design: The choices.
        pes: PEs of the machine.
    """
    pixels = design.tile_rows * design.tile_columns
    if pixels > MOST_PIXELS:
        return "tile_rows", f"gives tiles of {pixels} pixels", f"use at most {MOST_PIXELS}, one bit of a gate word each"
    if pixels * design.parallel_lists != pes:
        what = f"is {design.parallel_lists}: {pixels} pixels make {pixels * design.parallel_lists} PEs, not {pes}"
        return "parallel_lists", what, "change it, the tile or the array"
    if (design.gates == "private") != (design.predictor_order == "layer"):
        what = f"is {design.predictor_order!r} with {design.gates} gates"
        return "predictor_order", what, "predict layers with private gates, tiles with gates in registers"
    if design.gates != "registers" and design.parallel_lists > 1:
        return "parallel_lists", f"is {design.parallel_lists} with {design.gates} gates", "use 1 or gates in registers"
    if design.predictor == "shared" and design.largest_predictor_weight > 1:
        what = f"is {design.largest_predictor_weight} with a shared predictor"
        return "largest_predictor_weight", what, "use 1 or a dedicated predictor: the adders of a PE are too narrow"
    if design.predictor == "dedicated" and design.predictor_order == "layer":
        return "predictor", "is 'dedicated' with layers predicted whole", "predict tile by tile"
    if design.gates == "registers" and design.structures is None:
        return "structures", "is missing", "give the sizes of what gates in registers need"
    return None
