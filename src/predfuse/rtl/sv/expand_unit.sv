// One pixel of the predictor's first stage: INPUTS terms a cycle, then mask 1 and the hidden activation.
module expand_unit #(
    parameter INPUTS = 16,
    parameter HELD = 32,
    parameter SCORE = 16,
    parameter ROUND = $clog2(HELD / INPUTS + 1),
    parameter CHANNEL = $clog2(HELD)
) (
    input clk,
    input load,
    input [CHANNEL-1:0] load_at,
    input [15:0] load_x,
    input [5:0] input_shift,
    input signed [3:0] input_min,
    input signed [3:0] input_max,
    input present,  // inside the image
    input step,
    input [ROUND-1:0] round,
    input [3*INPUTS-1:0] weights,  // of the round: 0 none, 1 to 3: 1, 2, 4; and the sign
    input signed [SCORE-1:0] offset,
    input [4:0] shift,
    input [3:0] hidden_max,
    input gated,
    output mask,
    output [3:0] hidden
);
  reg [4*HELD-1:0] x;
  wire signed [15:0] moved_x = $signed(load_x) >>> input_shift;
  wire [3:0] clamped = moved_x < 16'(input_min) ? input_min : moved_x > 16'(input_max) ? input_max : moved_x[3:0];
  always @(posedge clk) if (load) x[4*load_at+:4] <= clamped;
  wire [4*INPUTS-1:0] now = x[4*INPUTS*round+:4*INPUTS];
  wire [5*INPUTS-1:0] values;
  wire signed [SCORE-1:0] sum;
  reg signed [SCORE-1:0] so_far;
  wire signed [SCORE-1:0] score = (round == 0 ? offset : so_far) + sum;
  genvar i;
  generate
    for (i = 0; i < INPUTS; i = i + 1) begin : g_value
      assign values[5*i+:5] = {now[4*i+3], now[4*i+:4]};
    end
  endgenerate
  weighted_sum #(INPUTS, SCORE) u_sum (
      .values(values),
      .weights(weights),
      .sum(sum)
  );
  always @(posedge clk) if (step) so_far <= score;
  wire signed [SCORE-1:0] moved = score >>> shift;
  assign mask = present & ((score > 0) | ~gated);
  assign hidden = (~present | moved < 0) ? 4'd0 : moved > SCORE'(hidden_max) ? hidden_max : moved[3:0];
endmodule
