// PEs of the sparse machine that are in step, and what leads them: of a column, for groups worked on at once have columns.
module sparse_column #(
    parameter PES = 3,
    parameter WEIGHTS = 32,
    parameter INPUTS = 12,
    parameter SUMS = 4,
    parameter BITS = 16,
    parameter ACCUMULATOR = 40,
    parameter PIXEL = 12,
    parameter AT = $clog2(WEIGHTS),
    parameter INPUT = $clog2(INPUTS),
    parameter SUM = $clog2(SUMS),
    parameter WORD = 1 + SUM + INPUT + BITS
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
    input [PES-1:0] write_weight,
    input [PES*AT-1:0] write_weight_at,
    input [PES*WORD-1:0] write_weight_data,
    input [PES-1:0] write_input,
    input [PES*INPUT-1:0] write_input_at,
    input [PES*BITS-1:0] write_input_data,
    output [PES-1:0] valid,
    output [PES*SUM-1:0] sum_at,
    output [PES*ACCUMULATOR-1:0] total
);
  wire restart;
  wire [AT-1:0] at;
  wire [INPUT-1:0] base;
  walk #(WEIGHTS, INPUTS, PIXEL) u_walk (
      clk, rst, told, half, told_end, told_slide, told_more, taken, work, restart, at, base
  );
  genvar p;
  generate
    for (p = 0; p < PES; p = p + 1) begin : g_pe
      sparse_pe #(WEIGHTS, INPUTS, SUMS, BITS, ACCUMULATOR) u_pe (
          clk, work, restart, at, base, write_weight[p], write_weight_at[AT*p+:AT], write_weight_data[WORD*p+:WORD],
          write_input[p], write_input_at[INPUT*p+:INPUT], write_input_data[BITS*p+:BITS], valid[p], sum_at[SUM*p+:SUM],
          total[ACCUMULATOR*p+:ACCUMULATOR]
      );
    end
  endgenerate
endmodule
