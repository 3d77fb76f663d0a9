// One unit of the predictor's first stage: INPUTS terms a cycle, then mask 1 and the hidden activation of a pixel; in
// every turn it has another pixel.
module expand_unit #(
    parameter INPUTS = 16,
    parameter HELD = 32,
    parameter TURNS = 1,
    parameter SCORE = 12,
    parameter SHIFT = $clog2(SCORE),
    parameter ROUND = $clog2(HELD / INPUTS + 1),
    parameter CHANNEL = $clog2(HELD),
    parameter TURN = $clog2(TURNS + 1)
) (
    input clk,
    input [TURNS-1:0] load,
    input [CHANNEL-1:0] load_at,
    input [16*TURNS-1:0] load_x,
    input [5:0] input_shift,
    input signed [3:0] input_min,
    input signed [3:0] input_max,
    input present,  // inside the image
    input step,
    input [ROUND-1:0] rounds,
    input [ROUND-1:0] round,
    input [TURN-1:0] turn,
    input [3*INPUTS-1:0] weights,  // of the round: 0 none, 1 to 3: 1, 2, 4; and the sign
    input signed [SCORE-1:0] offset,
    input [SHIFT-1:0] shift,
    input [3:0] hidden_max,
    input gated,
    output mask,
    output [3:0] hidden
);
  reg [4*HELD-1:0] x;
  // Behind the inputs of a turn, `rounds` times INPUTS of them, lie those of the next.
  // What is shifted out of 4 bits is told by the bits above them.
  wire [3:0] places_x = input_shift > 15 ? 4'd15 : input_shift[3:0];
  wire [15:0] above_x = 16'hFFF8 << places_x;
  wire [4*TURNS-1:0] clamped;
  genvar t;
  generate
    for (t = 0; t < TURNS; t = t + 1) begin : g_turn
      wire signed [15:0] whole = load_x[16*t+:16];
      wire sign = whole[15];
      wire beyond = |((whole ^ {16{sign}}) & above_x);
      /* verilator lint_off UNUSED */
      wire signed [15:0] all = whole >>> places_x;
      /* verilator lint_on UNUSED */
      wire signed [3:0] low = all[3:0];
      wire under = beyond ? sign : low < input_min;
      wire over = beyond ? ~sign : low > input_max;
      assign clamped[4*t+:4] = under ? input_min : over ? input_max : low;
    end
  endgenerate
  integer n, c;
  always @(posedge clk)  // every place has an enable of its own: no shifter of all
    for (n = 0; n < TURNS; n = n + 1)
      for (c = 0; c < HELD; c = c + 1)
        if (load[n] && INPUTS * n * 32'(rounds) + 32'(load_at) == c) x[4*c+:4] <= clamped[4*n+:4];
  wire [ROUND-1:0] place = TURNS == 1 ? round : ROUND'(32'(turn) * 32'(rounds)) + round;
  reg [4*INPUTS-1:0] now;
  integer m;
  always @* begin
    now = 0;
    for (m = 0; m < HELD / INPUTS; m = m + 1) if (place == ROUND'(m)) now = now | x[4*INPUTS*m+:4*INPUTS];
  end
  wire [5*INPUTS-1:0] values;
  reg signed [SCORE-1:0] so_far;
  wire signed [SCORE-1:0] score;
  genvar i;
  generate
    for (i = 0; i < INPUTS; i = i + 1) begin : g_value
      assign values[5*i+:5] = {now[4*i+3], now[4*i+:4]};
    end
  endgenerate
  weighted_sum #(INPUTS, SCORE) u_sum (
      .start(round == 0 ? offset : so_far),
      .values(values),
      .weights(weights),
      .sum(score)
  );
  always @(posedge clk) if (step) so_far <= score;
  wire [SCORE-1:0] above = ~SCORE'(15) << shift;
  /* verilator lint_off UNUSED */
  wire [SCORE-1:0] all_moved = score >> shift;
  /* verilator lint_on UNUSED */
  wire [3:0] moved = all_moved[3:0];
  assign mask = present & ((score > 0) | ~gated);
  assign hidden = (~present | score < 0) ? 4'd0 : |(score & above) || moved > hidden_max ? hidden_max : moved;
endmodule
