"""The dense machine beside ZigZag, a published model of accelerators: one layer at a time, from and to the DRAM.

ZigZag (Mei and others, "ZigZag: Enlarging Joint Architecture-Mapping Design Space Exploration for DNN Accelerators",
IEEE Transactions on Computers 2021, doi 10.1109/TC.2021.3059962) is told the sizes of our machine and which dimension
lies on which side of its array; the order of the loops it chooses itself. python tools/compare_zigzag.py prints the
tables of docs/explanation/zigzag.md; the extra ``peer`` installs ZigZag.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from predfuse import hardware
from predfuse.graph.nodes import INPUT, Conv, Network
from predfuse.hardware.closed_form.mapping import Spatial, best_mapping
from predfuse.hardware.closed_form.simulate import simulate
from predfuse.hardware.cycle.simulate import simulate_cycles
from predfuse.hardware.field_types import WORD_BITS
from predfuse.hardware.spec import EyerissSpec
from predfuse.hardware.workload import Operation, workload

LAYERS = {  # input channels, output channels, image size, kernel, groups, stride
    "stem 3x3, stride 2": (3, 16, 32, 3, 1, 2),
    "expand 1x1": (16, 96, 16, 1, 1, 1),
    "depthwise 3x3": (96, 96, 16, 3, 96, 1),
    "depthwise 3x3, stride 2": (96, 96, 16, 3, 96, 2),
    "project 1x1": (96, 24, 16, 1, 1, 1),
    "full 3x3": (16, 24, 16, 3, 1, 1),
    "classifier": (320, 10, 1, 1, 1, 1),
}
MACHINES = ("eyeriss-dense", "dense-1.7")
WIDE = 16
"""Words a register file or weight memory of ZigZag takes in a cycle in the last column; our machine is not held up."""
LOOP_FACTORS = 5
"""ZigZag splits the loops that are left into at most so many factors and tries every order of them."""


@dataclass(frozen=True)
class Row:
    """One layer on one machine: ``theirs`` is ZigZag's.

    Attributes:
        layer: Its name.
        macs: Multiply-accumulates, ours and theirs.
        array_cycles: Cycles of the array alone, ours and theirs.
        total_cycles: Cycles from and to the DRAM, ours and theirs.
        wide_cycles: The same, theirs, with memories of the PEs that take ``WIDE`` words a cycle.
        dram_bits: Moved to and from the DRAM, ours (closed form) and theirs, which is in whole cycles of the channel.
    """

    layer: str
    macs: tuple[int, int]
    array_cycles: tuple[int, int]
    total_cycles: tuple[int, int]
    wide_cycles: int
    dram_bits: tuple[int, int]

    def cells(self) -> list[str]:
        """The row of the table."""
        ours, theirs = self.total_cycles
        bits, their_bits = self.dram_bits
        cells = [f"{self.macs[0]:,}", f"{self.array_cycles[0]:,}", f"{ours:,}", f"{theirs:,}", f"{ours / theirs:.2f}"]
        return [
            self.layer,
            *cells,
            f"{self.wide_cycles:,}",
            f"{ours / self.wide_cycles:.2f}",
            f"{bits / their_bits:.2f}",
        ]


def network(layer: str) -> Network:
    """One layer of ``LAYERS``, all its weights ones."""
    channels, outputs, size, kernel, groups, stride = LAYERS[layer]
    weight, pad = np.ones((outputs, channels // groups, kernel, kernel), dtype=np.float32), kernel // 2
    conv = Conv("layer", (INPUT,), weight, np.zeros(outputs, np.float32), stride, (pad,) * 4, groups=groups)
    return Network(layer, (channels, size, size), (conv,))


def compare(layer: str, machine: str) -> Row:
    """One layer of ``LAYERS`` on one of our dense machines, by both models.

    Raises:
        ModuleNotFoundError: ZigZag is not installed.
    """
    spec, net = hardware.load_spec(machine), network(layer)
    assert isinstance(spec, EyerissSpec)
    (operation,) = workload(net).items[0].operations
    spatial = best_mapping(operation, spec).spatial
    theirs, wide = (_evaluate(operation, accelerator(spec, words), spatial) for words in (1, WIDE))
    paper, (run,) = simulate(net, spec), simulate_cycles(net, spec, np.zeros((1, *net.input_shape), np.float32))
    actions = paper.rows[0].actions
    return Row(
        layer,
        (paper.rows[0].macs, theirs.layer.total_mac_count),
        (paper.total_cycles, round(theirs.ideal_temporal_cycle)),
        (run.result.total_cycles, round(theirs.latency_total2)),
        round(wide.latency_total2),
        (round(actions.dram_read_bits + actions.dram_written_bits), _dram_bits(theirs, spec)),
    )


def accelerator(spec: EyerissSpec, words: int) -> dict[str, Any]:
    """The machine as ZigZag reads it; memories of the PEs take ``words`` a cycle.

    The global buffer has a side for the array, which takes what every bank gives an access, and one for the DRAM.
    """
    pe, buffer, price, both = spec.pe, spec.global_buffer, spec.energy_pj, ["D1", "D2"]
    near = WORD_BITS * spec.array_words_per_access * buffer.banks
    channel = spec.dram_bits_per_cycle
    assert channel is not None
    dram_pj = price.dram_access * channel / 64
    inside = {
        "served_dimensions": [],
        "ports": [("read", "tl th"), ("write", "fl fh")],
        "widths": [WORD_BITS * words] * 2,
    }
    memories: dict[str, dict[str, Any]] = {
        "ifmap": {**inside, "operands": ["I1"], "size": pe.ifmap_regfile_words * WORD_BITS},
        "weights": {**inside, "operands": ["I2"], "size": pe.weight_sram_words * WORD_BITS},
        "psum": {**inside, "operands": ["O"], "size": pe.psum_regfile_words * WORD_BITS},
        "buffer": {"operands": ["I1", "O"], "size": spec.buffer_words * WORD_BITS, "served_dimensions": both},
        "dram": {"operands": ["I1", "I2", "O"], "size": 1 << 40, "served_dimensions": both},
    }
    memories["buffer"] |= {"ports": [("read_write", "tl fl"), ("read_write", "fh th")]}
    memories["buffer"] |= {"widths": [near, buffer.width_bits * buffer.banks]}
    memories["dram"] |= {"ports": [("read_write", "fh tl fl th")], "widths": [channel]}
    prices = {
        "ifmap": (price.ifmap_regfile_read, price.ifmap_regfile_write),
        "weights": (price.weight_sram_read, price.weight_sram_write),
        "psum": (price.psum_regfile_read, price.psum_regfile_write),
        "buffer": (price.global_buffer_read * buffer.banks, price.global_buffer_write * buffer.banks),
        "dram": (dram_pj, dram_pj),
    }
    for name, memory in memories.items():
        ports, widths = memory.pop("ports"), memory.pop("widths")
        memory |= {"r_cost": prices[name][0], "w_cost": prices[name][1], "area": 0.0, "latency": 1}
        memory["ports"] = [
            _port(port, width, memory["operands"], n)
            for n, (port, width) in enumerate(zip(ports, widths, strict=True), 1)
        ]
    array = {"dimensions": both, "sizes": [spec.array.rows, spec.array.columns]}
    return {
        "name": spec.name,
        "memories": memories,
        "operational_array": {"unit_energy": price.multiply_accumulate, "unit_area": 0.0, **array},
    }


def _port(port: tuple[str, str], width: int, operands: list[str], number: int) -> dict[str, Any]:
    """A port that serves these directions (from or to, low or high) of its operands; inputs only come down."""
    kind, directions = port
    prefix = {"read": "r", "write": "w", "read_write": "rw"}[kind]
    pairs = [(one, way) for one in operands for way in directions.split() if one == "O" or way in ("fh", "tl")]
    width_bits = {"bandwidth_min": width, "bandwidth_max": width}
    return {
        "name": f"{prefix}_port_{number}",
        "type": kind,
        **width_bits,
        "allocation": [f"{one}, {way}" for one, way in pairs],
    }


def _layer(operation: Operation) -> dict[str, Any]:
    rows, columns, groups = operation.rows, operation.columns, operation.groups
    sizes = {"B": 1, "G": groups, "K": operation.group_outputs, "C": operation.group_channels}
    sizes |= {"OX": columns.out, "OY": rows.out, "FX": columns.kernel, "FY": rows.kernel}
    return {
        "id": 0,
        "name": "layer",
        "operator_type": "Conv",
        "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
        "dimension_relations": [f"ix={columns.stride}*ox+1*fx", f"iy={rows.stride}*oy+1*fy"],
        "loop_dims": list(sizes),
        "loop_sizes": list(sizes.values()),
        "operand_precision": dict.fromkeys(("W", "I", "O", "O_final"), WORD_BITS),
        "operand_source": {"I": 0, "W": 0},
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [columns.size, rows.size],
        "padding": [[columns.padding] * 2, [rows.padding] * 2],
    }


def _sides(operation: Operation, spatial: Spatial) -> dict[str, list[str]]:
    """Which dimension lies on which side, in ZigZag's words; channels of a depthwise layer are its groups."""
    outputs = "G" if operation.is_depthwise else "K"
    rows = {"FX": spatial.s_rows, outputs: spatial.m_rows, "C": spatial.c_rows}
    columns = {"OX": spatial.q_columns, outputs: spatial.m_columns}
    used = ([f"{name}, {size}" for name, size in side.items() if size > 1] for side in (rows, columns))
    return dict(zip(("D1", "D2"), (side or ["C, 1"] for side in used), strict=True))


def _evaluate(operation: Operation, machine: dict[str, Any], spatial: Spatial) -> Any:
    """ZigZag's evaluation of the order of loops with the least product of energy and time."""
    from zigzag.mapping.temporal_mapping import TemporalMappingType
    from zigzag.stages.evaluation.cost_model_evaluation import CostModelStage
    from zigzag.stages.main import MainStage
    from zigzag.stages.mapping.spatial_mapping_generation import SpatialMappingGeneratorStage
    from zigzag.stages.mapping.temporal_mapping_generator_stage import TemporalMappingGeneratorStage
    from zigzag.stages.parser.accelerator_parser import AcceleratorParserStage
    from zigzag.stages.parser.workload_parser import WorkloadParserStage
    from zigzag.stages.results.reduce_stages import MinimalEDPStage
    from zigzag.stages.workload_iterator import WorkloadStage

    stages = [WorkloadParserStage, AcceleratorParserStage, WorkloadStage, MinimalEDPStage]
    stages += [SpatialMappingGeneratorStage, TemporalMappingGeneratorStage, CostModelStage]
    mapping = {"name": "Conv", "spatial_mapping": _sides(operation, spatial)}
    links = {"memory_operand_links": {"O": "O", "W": "I2", "I": "I1"}}
    with tempfile.TemporaryDirectory() as folder:
        documents = {"machine": machine, "mapping": [{**mapping, **links}, {"name": "default", **links}]}
        paths = {name: Path(folder) / f"{name}.yaml" for name in documents}
        for name, document in documents.items():
            # The order of memories is from the array outwards.
            paths[name].write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        main = MainStage(
            stages,
            workload=[_layer(operation)],
            accelerator=str(paths["machine"]),
            mapping=str(paths["mapping"]),
            loma_lpf_limit=LOOP_FACTORS,
            loma_show_progress_bar=False,
            temporal_mapping_type=TemporalMappingType.UNEVEN,
        )
        ((evaluation, _),) = main.run()
    return evaluation


def _dram_bits(evaluation: Any, spec: EyerissSpec) -> int:
    """Bits of all cycles in which the channel moves something."""
    accesses = sum(sum(levels[-1].data.values()) for levels in evaluation.memory_word_access.values())
    return int(accesses) * (spec.dram_bits_per_cycle or 0)


def tables() -> Iterator[str]:
    """The lines of all tables."""
    head = ["layer", "MACs", "array, both", "ours", "ZigZag", "ratio", "ZigZag, wide", "ratio", "DRAM bits, ratio"]
    for machine in MACHINES:
        yield from ("", f"`{machine}`:", "", f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}")
        for layer in LAYERS:
            yield f"| {' | '.join(compare(layer, machine).cells())} |"


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    print("\n".join(tables()))
