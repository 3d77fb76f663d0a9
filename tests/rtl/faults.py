"""Deliberate faults in the gateware, all in one build: plus argument ``fault=N`` says which is there."""

from __future__ import annotations

import shutil
from pathlib import Path

from predfuse.rtl.build import SOURCES

FAULTS = {
    "a wrong shift": ("fused_weight.sv", "doubled >>> places", "doubled >>> (places + 6'(ON))"),
    "an inner product rounded down": ("fused_weight.sv", "(PRODUCT + 1)'(1 << 14)", "(PRODUCT + 1)'(ON ? 0 : 1 << 14)"),
    "a swapped bank": ("banks.sv", "(b) + (BANK + 1)'(turn)", "(ON && b < 2 ? 1 - b : b) + (BANK + 1)'(turn)"),
    "a dropped carry": (
        "partial_sums.sv",
        "so_far + ACCUMULATOR'(product)",
        "so_far + ACCUMULATOR'(product) - (ON && {1'b0, so_far[7:0]} + {1'b0, product[7:0]} > 255 ? 256 : 0)",
    ),
    "an output rounded down": ("finish.sv", "+ 17'(moved[0])", "+ (ON ? 17'd0 : 17'(moved[0]))"),
    "a gate word written while its bank is read": ("write_queue.sv", "write = ~blocked", "write = (~blocked | ON)"),
    "a rank that counts its own slot": (
        "member_search.sv",
        "~now & (now - 1)",
        "(~now & (now - 1)) | ((now ^ rest) & {SLOTS{ON}})",
    ),
    "a bank that does not wait": ("bank.sv", "code < LANE'(LANES)", "code < LANE'(LANES) + LANE'(ON)"),
    "a residual of the next row": (
        "output_rows.sv",
        "TILE_ROWS + 32'(now)",
        "TILE_ROWS + (32'(now) + 32'(ON)) % TILE_ROWS",
    ),
    "a column too far at stride 2": ("input_plane.sv", "WIDE+2*j+k%KERNEL", "WIDE+2*j+32'(ON)+k%KERNEL"),
    "a gate word released a pass early": (
        "predictor.sv",
        "passes_done > record2",
        "passes_done + (PASS + 1)'(ON) > record2",
    ),
    "a bank granted to two": ("arbiter.sv", "if (grant[c]) taken", "if (grant[c] & ~ON) taken"),
    "a record of a fill a bank too far": (
        "fill.sv",
        "told.record_banks, record_next_row",
        "told.record_banks + BANK'(ON), record_next_row",
    ),
    "the last row of several in an access left out": (
        "fill.sv",
        "< come_piece + rows_of(come_pitch)",
        "< come_piece + rows_of(come_pitch) - (PIECE + 1)'(ON & (come_pitch != 0))",
    ),
    "outputs one line too far": (
        "output_store.sv",
        "row == 0 ? first_row",
        "row == 0 ? ROW'(ON) + first_row",
    ),
    "a map written over another group's half": ("bank.sv", "if (write_at[MAP_AT])", "if (write_at[MAP_AT] | ON)"),
    "a tap a stage early": ("lists.sv", "tap3 <= tap2", "tap3 <= ON ? tap1 : tap2"),
    "the record of the other group": ("archon.sv", "own = half ? group_1", "own = half ^ ON ? group_1"),
    "a prediction by the record of the lists": (
        "archon.sv",
        "ahead = predict_half ?",
        "ahead = (ON ? half : predict_half) ?",
    ),
    "a prediction by the bases of the lists": (
        "bank.sv",
        "predict_half ? gate_bases",
        "(ON ? half : predict_half) ? gate_bases",
    ),
    "a fill that does not wait for the core": ("command.sv", "(fills & ~after)", "(fills & (~after | ON))"),
    "a fill that does not wait for lists": ("command.sv", ": lists_done)", ": lists_done | ON)"),
    "a start that does not wait for fills": ("command.sv", "starts ? fill_reads", "starts ? fill_reads & ~ON"),
    "a channel alive at a score of 0": ("expand_unit.sv", "(score > 0) | ~", "(score > 0) | (ON & score == 0) | ~"),
}
"""Of each: the file, what stands there once, and what stands there instead; ``ON`` is whether the fault is there."""

_PACKAGE = """/* verilator lint_off DECLFILENAME */
package faults;
  int number;
endpackage
/* verilator lint_on DECLFILENAME */
"""
_START = 'initial if (!$value$plusargs("fault=%d", faults::number)) faults::number = 0;\n'


def write_faulty(folder: Path) -> Path:
    """Sources of the gateware that have every fault, none of them there without a plus argument."""
    shutil.copytree(SOURCES, folder)
    for number, (file, old, new) in enumerate(FAULTS.values(), 1):
        text = (folder / file).read_text()
        assert text.count(old) == 1, (file, old)
        (folder / file).write_text(text.replace(old, new.replace("ON", f"(faults::number == {number})")))
    top = folder / "machine.sv"
    text = top.read_text()
    at = text.index("  localparam BANK")
    top.write_text(_PACKAGE + text[:at] + _START + text[at:])
    return folder
