"""A block depth-first: expand, depthwise and project of a band of output rows, then the next band.

What lies between the three layers never leaves the chip. A band is as wide as the image. Rows that two bands share (the
halo) are either expanded again for each, or kept in the global buffer (line buffers). Groups follow each other; the
middle channels of a group are worked through in parts where the buffer does not hold a band of all, so that the sums of
the output are finished part by part. Weights are fetched for every band, or kept in the buffer where there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from predfuse.errors import InputError
from predfuse.hardware.closed_form.windows import pixels_touched
from predfuse.hardware.cycle.eyeriss.convolution import Convolutions, Way
from predfuse.hardware.cycle.memory.buffer import Place, buffer_cycles
from predfuse.hardware.cycle.memory.schedule import schedule
from predfuse.hardware.cycle.memory.steps import Steps
from predfuse.hardware.cycle.plan import LayerPlan, StagePlan
from predfuse.hardware.energy import Actions
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation

MOST_STEPS = 64
PARTS = (1, 4, 16)
"""Parts the middle channels of a group are worked through in."""


@dataclass(frozen=True)
class Bands:
    """How a block is cut.

    Attributes:
        rows: Output rows of a band.
        parts: Parts of the middle channels of a group.
        lines: Whether halo rows are kept instead of expanded again.
        held_words: Of the buffer, for everything the bands need (words).
        expanded_rows: Rows expanded over all bands, which are the input rows they read.
    """

    rows: int
    parts: int
    lines: bool
    held_words: int
    expanded_rows: int

    def count(self, height: int) -> int:
        """Bands of an output of so many rows."""
        return -(-height // self.rows)


def ways(operations: Sequence[Operation], place: Place, spec: EyerissSpec) -> Iterator[Bands]:
    """The largest bands that fit, for every number of parts, with halos kept and expanded again.

    Args:
        operations: Expand, depthwise, project.
        place: Where the maps of the block are.
        spec: The machine.
    """
    height = operations[1].rows.out
    seen = set()
    for lines in (True, False):
        for parts in PARTS:
            if parts > operations[0].group_outputs:
                break
            for rows in sorted({-(-height // count) for count in range(1, height + 1)}, reverse=True):
                bands = _cut(operations, rows, parts, lines, place, spec)
                if bands.held_words <= place.free_words:
                    if (rows, lines) not in seen:
                        seen.add((rows, lines))
                        yield bands
                    break


def _cut(operations: Sequence[Operation], rows: int, parts: int, lines: bool, place: Place, spec: EyerissSpec) -> Bands:
    expand, depthwise, project = operations
    window, width = depthwise.rows, depthwise.columns.size
    span = (window.kernel - 1) * window.dilation + 1
    new, reach = min(rows * window.stride, window.size), min((rows - 1) * window.stride + span, window.size)
    middle = -(-expand.group_outputs // parts)
    if lines:
        kept = expand.group_outputs * max(0, reach - new) * width  # of all parts, for the next band
        first = kept + middle * new * width
    else:
        first = middle * reach * width
    second = middle * rows * depthwise.columns.out
    sums = project.group_outputs * rows * project.columns.out
    if parts > 1:
        sums = -(-sums * spec.pe.psum_bits // spec.bits)
    inputs = expand.group_channels * (new if lines else reach) * width * (0 if place.input_on_chip else 2)
    touched = pixels_touched(window, window.out if lines else rows)
    return Bands(rows, parts, lines, first + second + sums + inputs, touched)


def plan_depth_first(
    operations: Sequence[Operation], convolutions: Convolutions, place: Place, residual: bool
) -> LayerPlan | None:
    """The cut with the least product of time and energy; None where no band fits the buffer.

    Args:
        operations: Expand, depthwise, project.
        convolutions: Of the machine.
        place: Where the maps of the block are.
        residual: Whether its input is added to its output.
    """
    spec = convolutions.spec
    best: tuple[float, LayerPlan] | None = None
    for bands in ways(operations, place, spec):
        try:
            fitted = [convolutions.best(*band) for band in _band_operations(operations, bands, place)]
        except InputError:
            continue
        for keeps in (False, True):
            plan = _plan(operations, bands, fitted, keeps, spec, place, residual)
            if plan is not None:
                energy = sum(convolutions.energy_pj(row.actions) for row in plan.stages)
                product = schedule(plan.steps, spec.dram_bits_per_cycle).end * energy
                if best is None or product < best[0]:
                    best = product, plan
    return best[1] if best else None


def _band_operations(operations: Sequence[Operation], bands: Bands, place: Place) -> Iterator[tuple[Operation, Place]]:
    """Each convolution on the rows of one band, and the room it has: its own maps lie in what the bands hold."""
    expand, depthwise, project = operations
    count = bands.count(depthwise.rows.out)
    first = -(-bands.expanded_rows // count)
    spare = place.free_words - bands.held_words
    span = (depthwise.rows.kernel - 1) * depthwise.rows.dilation + 1
    reach = min((bands.rows - 1) * depthwise.rows.stride + span, depthwise.rows.size)
    width, out = depthwise.columns.size, depthwise.columns.out
    middle = -(-expand.group_outputs // bands.parts)
    sizes = (
        (expand, first, first, width, width, expand.group_channels * first * width + middle * first * width),
        (depthwise, reach, bands.rows, width, out, middle * (reach * width + bands.rows * out)),
        (project, bands.rows, bands.rows, out, out, (middle + project.group_outputs) * bands.rows * out),
    )
    for operation, into, rows, in_width, out_width, own in sizes:
        band = operation.with_image((into, in_width), (rows, out_width))
        yield band, Place(True, True, True, spare + own)


def _plan(
    operations: Sequence[Operation],
    bands: Bands,
    fitted: Sequence[Way],
    keeps: bool,
    spec: EyerissSpec,
    place: Place,
    residual: bool,
) -> LayerPlan | None:
    """Steps and actions; None where weights are to be kept and there is no room."""
    expand, depthwise, project = operations
    count = bands.count(depthwise.rows.out)
    near, width = spec.array_words_per_access, spec.global_buffer.width_bits
    if keeps and (
        count == 1 or sum(way.weight_bits for way in fitted) > (place.free_words - bands.held_words) * spec.bits
    ):
        return None
    columns = depthwise.columns.size
    inputs = expand.channels * bands.expanded_rows * columns
    outputs = project.outputs * project.out_pixels
    shares = (bands.expanded_rows / -(-bands.expanded_rows // count), *(depthwise.rows.out / bands.rows,) * 2)
    done = (bands.expanded_rows * columns, depthwise.out_pixels, project.out_pixels)
    rows: list[StagePlan] = []
    loads = {True: 0.0, False: 0.0}
    for index, (way, operation) in enumerate(zip(fitted, operations, strict=True)):
        row, bits, ahead = way.row(spec), way.weight_bits, way.doubled.weights
        # The rows of a band do all but the weights, which every band, the last and smaller one too, needs whole.
        actions = row.actions.with_counts(dram_read_bits=row.actions.dram_read_bits - bits).scaled(shares[index])
        loads[ahead] += bits if keeps else bits * count
        actions += Actions(dram_read_bits=bits if keeps else bits * count)
        if keeps:
            actions += Actions(global_buffer_writes=bits / width, global_buffer_reads=bits * count / width)
        if index == 0:
            fetched = 0 if place.input_on_chip else inputs * spec.bits
            loads[True] += fetched
            again = inputs * (bands.parts - 1)
            actions += Actions(
                dram_read_bits=fetched, global_buffer_writes=fetched / width, global_buffer_reads=again / near
            )
        if index == 2:
            spilled = outputs * (bands.parts - 1) * spec.pe.psum_bits / spec.bits / near
            stored = 0 if place.output_on_chip else outputs * spec.bits
            actions += Actions(
                global_buffer_reads=spilled + stored / width, global_buffer_writes=spilled, dram_written_bits=stored
            )
            if residual:
                # The rows of a band's input are there, unless another group has them.
                far = 0 if place.residual_on_chip or project.groups == 1 else outputs * spec.bits
                loads[True] += far
                actions += Actions(
                    global_buffer_reads=outputs / near,
                    global_buffer_writes=far / width,
                    psum_regfile_writes=outputs,
                    dram_read_bits=far,
                )
        cycles = max(row.own_cycles * count, buffer_cycles(actions, spec))
        macs = operation.weights * done[index]
        halo = "kept" if bands.lines else "expanded again"
        mapping = f"{count} bands of {bands.rows} rows, halo {halo}; {row.mapping}"
        rows.append(StagePlan(operation.stage, macs, row.per_cycle, actions, mapping, row.pes, cycles))
    steps = min(MOST_STEPS, count * bands.parts * expand.groups)
    planned = Steps.even(
        expand.layer,
        project.stage,
        steps,
        tuple((round(bits), ahead) for ahead, bits in loads.items()),
        round(rows[2].actions.dram_written_bits),
        sum(row.own_cycles for row in rows),
        not place.input_on_chip,
        (place.free_words - bands.held_words) * spec.bits,
    )
    return LayerPlan(expand.layer, planned, tuple(rows))
