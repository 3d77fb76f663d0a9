// A PE that multiplies every weight: all PEs are at the same place of their lists, so that one index serves them all.
module dense_pe #(
    parameter WEIGHTS = 16,
    parameter INPUTS = 4,
    parameter SUMS = 2,
    parameter BITS = 16,
    parameter ACCUMULATOR = 40,
    parameter AT = $clog2(WEIGHTS),
    parameter INPUT = $clog2(INPUTS),
    parameter SUM = $clog2(SUMS),
    parameter LEAD = 2 + AT + INPUT + SUM
) (
    input clk,
    input [LEAD-1:0] lead,  // what all PEs do
    input write_weight,
    input [AT-1:0] write_weight_at,
    input [BITS-1:0] write_weight_data,
    input write_input,
    input [INPUT-1:0] write_input_at,
    input [BITS-1:0] write_input_data,
    output valid,
    output [ACCUMULATOR-1:0] total
);
  wire work, last;
  wire [AT-1:0] at;
  wire [INPUT-1:0] input_at;
  wire [SUM-1:0] sum_at;
  assign {work, at, input_at, sum_at, last} = lead;
  wire [BITS-1:0] weight;
  memory #(BITS, WEIGHTS) weights (clk, write_weight, write_weight_at, write_weight_data, at, weight);
  pe #(INPUTS, SUMS, BITS, ACCUMULATOR) u_pe (
      clk, work, weight, input_at, sum_at, last, write_input, write_input_at, write_input_data, valid, total
  );
endmodule
