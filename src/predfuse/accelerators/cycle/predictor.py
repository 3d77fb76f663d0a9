"""Cycles of the predictor: on the PEs' adders or on its own, layer by layer or tile by tile."""

from __future__ import annotations

from dataclasses import dataclass

from predfuse.accelerators.cycle.work import BlockWork
from predfuse.accelerators.design import Structures
from predfuse.accelerators.spec import ArchonSpec
from predfuse.compiler.tiling import Tile
from predfuse.errors import InputError


@dataclass(frozen=True)
class PredictTime:
    """Cycles of both stages.

    Attributes:
        expand_cycles: First stage.
        depthwise_cycles: Second stage; of a dedicated predictor what it takes longer than the first, beside which it
            runs.
    """

    expand_cycles: int
    depthwise_cycles: int

    @property
    def cycles(self) -> int:
        return self.expand_cycles + self.depthwise_cycles


def _ceil(amount: int, step: int) -> int:
    return -(-amount // step)


def dot_product_cycles(channels: int, terms: int, lanes: int) -> int:
    """Cycles for ``channels`` sums of ``terms`` ternary terms: several sums at once where they fit, never in part."""
    at_once = lanes // terms
    return _ceil(channels, at_once) if at_once else channels * _ceil(terms, lanes)


def layer_predict_time(work: BlockWork, spec: ArchonSpec) -> PredictTime:
    """The whole layer on the PEs' adders, one stage after the other; halos are kept, not computed again."""
    lanes, pixels = spec.pe.predictor_lanes, spec.design.tile_rows * spec.design.tile_columns
    _, height, width = work.in_shape
    _, rows, columns = work.out_shape
    if spec.design.predictor_packing == "full":
        per_cycle = spec.array.pes * lanes
        expand = work.middle * work.group_channels * height * width // per_cycle
        return PredictTime(expand, work.middle * work.taps * rows * columns // per_cycle)
    tile = (spec.design.tile_rows, spec.design.tile_columns)
    images = spec.array.pes // pixels  # PEs of a pixel take channels in turn
    in_tiles = _ceil(height, tile[0]) * _ceil(width, tile[1])
    out_tiles = _ceil(rows, tile[0]) * _ceil(columns, tile[1])
    expand = in_tiles * work.groups * dot_product_cycles(_ceil(work.group_middle, images), work.group_channels, lanes)
    return PredictTime(expand, out_tiles * dot_product_cycles(_ceil(work.middle, images), work.taps, lanes))


def tile_predict_time(work: BlockWork, channels: int, gate_words: int, tile: Tile, spec: ArchonSpec) -> PredictTime:
    """One group of one tile, its halo computed again.

    Args:
        work: The block.
        channels: Middle channels predicted.
        gate_words: Gate words written.
        tile: Output pixels and the input pixels they need.
        spec: The machine.
    """
    if spec.design.predictor == "shared":
        lanes, pes = spec.pe.predictor_lanes, spec.array.pes
        pixels = spec.design.tile_rows * spec.design.tile_columns
        share = _ceil(channels, pes // pixels)
        expand = _ceil(tile.input_pixels, pixels) * dot_product_cycles(share, work.group_channels, lanes)
        depthwise = dot_product_cycles(share, work.taps, lanes)
        if spec.design.structures is not None:
            depthwise = max(depthwise, _ceil(gate_words, spec.design.structures.gate_writes))
        return PredictTime(expand + spec.design.fill_cycles, depthwise)
    own = spec.design.structures
    assert own is not None  # checked with the specification
    if tile.input_pixels > own.hidden_plane_pixels:
        what = f"is {own.hidden_plane_pixels}, layer {work.name} has tiles of {tile.input_pixels} input pixels"
        raise InputError("design.structures.hidden_plane_pixels", what, f"use {tile.input_pixels} or more")
    at_once = channels_at_once(work, own)
    rounds = _ceil(channels, at_once)
    expand = rounds * _ceil(tile.input_pixels, own.predictor_units) * _ceil(work.group_channels, own.predictor_inputs)
    # The second stage follows one round behind and writes gate words as it goes.
    second = max(rounds * _ceil(work.taps, own.predictor_taps), _ceil(gate_words, own.gate_writes))
    return PredictTime(expand + spec.design.fill_cycles, max(0, second - expand))


def channels_at_once(work: BlockWork, own: Structures) -> int:
    """Middle channels a dedicated predictor works on at once."""
    return max(1, min(own.predictor_channels, own.predictor_inputs // work.group_channels))
