// One output pixel of the predictor's second stage: mask 2, and the gate bits of every tap and of mask 2 alone.
module depthwise_unit #(
    parameter TAPS = 9,
    parameter SCORE = 11
) (
    input [4*TAPS-1:0] hidden,
    input [TAPS-1:0] mask1,
    input [3*TAPS-1:0] weights,
    input signed [SCORE-1:0] offset,
    input gated,
    input present,
    output [TAPS:0] gates
);
  wire [5*TAPS-1:0] values;
  wire signed [SCORE-1:0] score;
  genvar k;
  generate
    for (k = 0; k < TAPS; k = k + 1) begin : g_value
      assign values[5*k+:5] = {1'b0, hidden[4*k+:4]};
    end
  endgenerate
  weighted_sum #(TAPS, SCORE) u_sum (
      .start(offset),
      .values(values),
      .weights(weights),
      .sum(score)
  );
  wire mask2 = present & ((score > 0) | ~gated);
  assign gates = {mask2, mask1 & {TAPS{mask2}}};
endmodule
