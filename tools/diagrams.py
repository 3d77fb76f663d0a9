"""Diagrams without measured numbers: what fusion does to a block, and the blocks of the ``archon`` machine."""

from __future__ import annotations

from predfuse.hardware.spec import ArchonSpec
from predfuse.report.svg import BLUE, GREEN, GREY, INK, ORANGE, PALE, Drawing

OPEN_EXPAND = (1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0)
OPEN_DEPTHWISE = (1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0)
"""Which middle channels the drawn block lets through, at its two ReLUs."""


def fusion_diagram() -> Drawing:
    """A block of three layers beside the one convolution that is left when it is known which ReLUs are open."""
    drawing = Drawing(560, 420, "What fusion does to a block: three layers with ReLUs become one convolution")
    outer, inner = 4, len(OPEN_EXPAND)

    def channels(x: float, count: int, top: float, gap: float) -> list[tuple[float, float]]:
        return [(x, top + gap * number) for number in range(count)]

    drawing.text(16, 26, "One pixel of a block, as it is trained", 14, bold=True)
    inputs, expanded = channels(60, outer, 98, 30), channels(210, inner, 66, 14)
    filtered, outputs = channels(340, inner, 66, 14), channels(490, outer, 98, 30)
    ways = [number for number, both in enumerate(zip(OPEN_EXPAND, OPEN_DEPTHWISE, strict=True)) if all(both)]
    for dark in (False, True):
        for number in range(inner):
            if (number in ways) == dark:
                colour, width = (BLUE, 1.4) if dark else (PALE, 0.8)
                for start in inputs:
                    drawing.line([start, expanded[number]], colour, width)
                drawing.line([expanded[number], filtered[number]], colour, width)
                for end in outputs:
                    drawing.line([filtered[number], end], colour, width)
    for gates, places in ((OPEN_EXPAND, expanded), (OPEN_DEPTHWISE, filtered)):
        for gate, (x, y) in zip(gates, places, strict=True):
            drawing.circle(x, y, 5, BLUE if gate else "#ffffff", BLUE if gate else GREY)
    for x, y in [*inputs, *outputs]:
        drawing.circle(x, y, 7, INK)
    for x, words in ((135, "expand 1x1"), (275, "depthwise k x k"), (415, "project 1x1")):
        drawing.text(x, 50, words, 12, anchor="middle")
    for x, words in ((210, "ReLU"), (340, "ReLU")):
        drawing.text(x, 240, words, 12, BLUE, "middle")
    drawing.circle(388, 237, 5, BLUE, BLUE)
    drawing.text(398, 241, "open", 11)
    drawing.circle(440, 237, 5, "#ffffff", GREY)
    drawing.text(450, 241, "shut, gives 0", 11)

    drawing.line([(275, 252), (275, 284)], GREEN, 3, arrow=True)
    drawing.text(290, 273, "a cheap predictor says which are open", 12, GREEN)

    drawing.text(16, 306, "The same pixel, fused: one convolution from inputs to outputs", 14, bold=True)
    starts, ends = channels(60, outer, 330, 24), channels(490, outer, 330, 24)
    for start in starts:
        for end in ends:
            drawing.line([start, end], ORANGE, 1.4)
    for x, y in [*starts, *ends]:
        drawing.circle(x, y, 7, INK)
    drawing.rectangle(122, 344, 306, 44, "#fff7ec", ORANGE, 6)
    drawing.text(275, 362, "weight = sum over the open middle channels of", 12, anchor="middle")
    drawing.text(275, 379, "project · depthwise · expand", 12, anchor="middle", bold=True)
    return drawing


def machine_diagram(spec: ArchonSpec) -> Drawing:
    """The blocks of a machine of the kind ``archon`` with gates in lane registers, with the sizes of one specification.

    Args:
        spec: A machine with ``design.structures``, ``archon`` for instance.
    """
    design, pe, buffer = spec.design, spec.pe, spec.global_buffer
    pixels = design.tile_rows * design.tile_columns
    drawing = Drawing(760, 440, f"The blocks of the machine {spec.name}")
    drawing.text(16, 28, f"{spec.name}: {pixels} pixels at once, {spec.array.pes} PEs", 15, bold=True)

    def box(x: float, y: float, width: float, height: float, name: str, *words: str, colour: str = BLUE) -> None:
        drawing.rectangle(x, y, width, height, "#f6f9fc", colour, 6)
        drawing.text(x + width / 2, y + 20, name, 13, anchor="middle", bold=True)
        for number, line in enumerate(words):
            drawing.text(x + width / 2, y + 38 + 16 * number, line, 11, anchor="middle")

    bits = spec.dram_bits_per_cycle
    box(16, 60, 110, 62, "DRAM", f"{bits} b a cycle" if bits else "endless", colour=GREY)
    box(186, 60, 150, 62, "global buffer", f"{buffer.banks} banks, {spec.buffer_words:,} words")
    box(400, 60, 150, 62, "input planes", "a tile and its halo", colour=BLUE)
    box(186, 190, 150, 78, "weights", "project memory,", "taps and columns")
    box(400, 190, 150, 78, "lane registers", f"{pe.adders} lanes, two sets:", "gates and factors", colour=ORANGE)
    box(
        610,
        60,
        134,
        208,
        "PEs",
        f"{design.parallel_lists} for each pixel:",
        f"{pe.adders} masked adders,",
        "one multiplier,",
        f"{pe.psum_regfile_words} partial sums",
        "",
        "every fused weight",
        "is added, each sum",
        "multiplied once",
        colour=GREEN,
    )
    box(186, 336, 150, 78, "predictor", "expand and depthwise", "units, only additions", colour=ORANGE)
    box(400, 336, 150, 78, "gate memory", "one bit a pixel,", "channel and tap", colour=ORANGE)
    for points in (
        [(126, 91), (184, 91)],
        [(336, 91), (398, 91)],
        [(550, 91), (608, 91)],
        [(261, 122), (261, 188)],
        [(336, 229), (398, 229)],
        [(550, 229), (608, 229)],
        [(336, 375), (398, 375)],
        [(475, 336), (475, 270)],
        [(186, 108), (152, 108), (152, 375), (184, 375)],
        [(677, 60), (677, 44), (261, 44), (261, 58)],
    ):
        drawing.line(points, INK, 1.4, arrow=True)
    for x, y, words in (
        (482, 305, "gate words"),
        (552, 84, "activations"),
        (553, 222, "gated"),
        (553, 244, "weights"),
        (400, 39, "outputs"),
    ):
        drawing.text(x, y, words, 10.5, GREY)
    drawing.text(56, 300, "inputs of the", 10.5, GREY)
    drawing.text(56, 314, "next tile", 10.5, GREY)
    return drawing
