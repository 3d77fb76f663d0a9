"""The sum of the predictor's units is proven equal to the plain one, for all inputs, by a SAT solver."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from predfuse.errors import InputError, PredfuseError
from predfuse.rtl import yosys
from predfuse.rtl.build import SOURCES

_PLAIN = """\
module plain #(parameter TERMS = 3, parameter SCORE = 12) (
    input [SCORE-1:0] start, input [5*TERMS-1:0] values, input [3*TERMS-1:0] weights,
    output reg signed [SCORE-1:0] sum);
  integer i;
  reg signed [SCORE-1:0] term;
  always @* begin
    sum = start;
    for (i = 0; i < TERMS; i = i + 1)
      if (weights[3*i+:2] != 0) begin
        term = SCORE'($signed(values[5*i+:5])) <<< (weights[3*i+:2] - 2'd1);
        sum = weights[3*i+2] ? sum - term : sum + term;
      end
  end
endmodule
module both #(parameter TERMS = 3, parameter SCORE = 12) (
    input [SCORE-1:0] start, input [5*TERMS-1:0] values, input [3*TERMS-1:0] weights, output differs);
  wire [SCORE-1:0] a, b;
  plain #(TERMS, SCORE) u(start, values, weights, a);
  weighted_sum #(TERMS, SCORE) v(start, values, weights, b);
  assign differs = a != b;
endmodule
"""


def _prove(folder: Path, score: int) -> str:
    return yosys.run(
        [
            "read_verilog -sv weighted_sum.sv plain.sv",
            f"hierarchy -top both -chparam SCORE {score}",
            "proc",
            "flatten",
            "opt",
            "sat -verify -prove differs 0",
        ],
        folder,
    )


@pytest.mark.parametrize("score", [12, 8])
def test_the_sum_without_signs_is_the_plain_sum(tmp_path: Path, score: int) -> None:
    """A score narrower than the sum has its lowest bits."""
    try:
        yosys.version()
    except InputError as error:
        pytest.skip(str(error))
    shutil.copy(SOURCES / "weighted_sum.sv", tmp_path)
    (tmp_path / "plain.sv").write_text(_PLAIN)
    assert "proof finished - no model found: SUCCESS" in _prove(tmp_path, score)
    # A sum that forgets a carry is found out.
    text = (tmp_path / "weighted_sum.sv").read_text()
    (tmp_path / "weighted_sum.sv").write_text(text.replace(" + SCORE'(weights[3*i+2])", ""))
    with pytest.raises(PredfuseError):
        _prove(tmp_path, score)
