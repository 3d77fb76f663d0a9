// All PEs of the dense machine, which are in step, and what leads them: one index of every weight serves them all.
module dense_array #(
    parameter PES = 3,
    parameter WEIGHTS = 16,
    parameter INPUTS = 4,
    parameter SUMS = 2,
    parameter BITS = 16,
    parameter ACCUMULATOR = 40,
    parameter PIXEL = 12,
    parameter AT = $clog2(WEIGHTS),
    parameter INPUT = $clog2(INPUTS),
    parameter SUM = $clog2(SUMS),
    parameter INDEX = 1 + SUM + INPUT
) (
    input clk,
    input rst,
    input told,
    input half,
    input [AT-1:0] told_end,
    input [INPUT-1:0] told_slide,
    input [PIXEL-1:0] told_more,
    output taken,
    output work,
    input write_index,
    input [AT-1:0] write_index_at,
    input [INDEX-1:0] write_index_data,
    input [PES-1:0] write_weight,
    input [PES*AT-1:0] write_weight_at,
    input [PES*BITS-1:0] write_weight_data,
    input [PES-1:0] write_input,
    input [PES*INPUT-1:0] write_input_at,
    input [PES*BITS-1:0] write_input_data,
    output [PES-1:0] valid,
    output [SUM-1:0] sum_at,
    output [PES*ACCUMULATOR-1:0] total
);
  /* verilator lint_off UNUSED */
  wire restart;  // no list is shorter than another
  /* verilator lint_on UNUSED */
  wire last;
  wire [AT-1:0] at;
  wire [INPUT-1:0] base, number, input_at;
  walk #(WEIGHTS, INPUTS, PIXEL) u_walk (
      clk, rst, told, half, told_end, told_slide, told_more, taken, work, restart, at, base
  );
  memory #(INDEX, WEIGHTS) index (clk, write_index, write_index_at, write_index_data, at, {last, sum_at, number});
  ring #(INPUTS) u_ring (number, base, input_at);
  genvar p;
  generate
    for (p = 0; p < PES; p = p + 1) begin : g_pe
      dense_pe #(WEIGHTS, INPUTS, SUMS, BITS, ACCUMULATOR) u_pe (
          clk, work, at, input_at, sum_at, last, write_weight[p], write_weight_at[AT*p+:AT],
          write_weight_data[BITS*p+:BITS], write_input[p], write_input_at[INPUT*p+:INPUT],
          write_input_data[BITS*p+:BITS], valid[p], total[ACCUMULATOR*p+:ACCUMULATOR]
      );
    end
  endgenerate
endmodule
