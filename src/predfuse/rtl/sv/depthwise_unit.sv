// One output pixel of the predictor's second stage: mask 2, and the gate bits of every tap and of mask 2 alone.
module depthwise_unit #(
    parameter TAPS = 9,
    parameter SCORE = 16
) (
    input [4*TAPS-1:0] hidden,
    input [TAPS-1:0] mask1,
    input [3*TAPS-1:0] weights,
    input signed [SCORE-1:0] offset,
    input gated,
    input present,
    output [TAPS:0] gates
);
  reg signed [SCORE-1:0] score, term;
  integer k;
  always @* begin
    score = offset;
    term = 0;
    for (k = 0; k < TAPS; k = k + 1)
      if (weights[3*k+:2] != 0) begin
        term = SCORE'(hidden[4*k+:4]) << (weights[3*k+:2] - 2'd1);
        score = weights[3*k+2] ? score - term : score + term;
      end
  end
  wire mask2 = present & ((score > 0) | ~gated);
  assign gates = {mask2, mask1 & {TAPS{mask2}}};
endmodule
