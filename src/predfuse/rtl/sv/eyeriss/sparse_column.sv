// PEs of the sparse machine that are in step, and what leads them: of a column, for groups worked on at once have columns.
// Their sums are added up along it; every few rows do all a cycle later.
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
    parameter WORD = 1 + SUM + INPUT + BITS,
    parameter TOGETHER = 4,
    parameter LEAD = 1 + AT + INPUT
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
    input [PES-1:0] joins,
    output [PES-1:0] valid,
    output [PES*ACCUMULATOR-1:0] sum
);
  wire [AT-1:0] at;
  wire [INPUT-1:0] base;
  wire [PES-1:0] own_valid;
  wire [PES*ACCUMULATOR-1:0] own;
  walk #(WEIGHTS, INPUTS, PIXEL) u_walk (
      clk, rst, told, half, told_end, told_slide, told_more, taken, work, at, base
  );
  wire [PES*LEAD-1:0] leads;
  rows #(PES, LEAD, TOGETHER) u_rows (clk, {work, at, base}, leads);
  genvar p;
  generate
    for (p = 0; p < PES; p = p + 1) begin : g_pe
      wire [LEAD-1:0] lead = leads[LEAD*p+:LEAD];
      sparse_pe #(WEIGHTS, INPUTS, SUMS, BITS, ACCUMULATOR) u_pe (
          clk, lead[LEAD-1], lead[INPUT+:AT], lead[INPUT-1:0], write_weight[p], write_weight_at[AT*p+:AT],
          write_weight_data[WORD*p+:WORD], write_input[p], write_input_at[INPUT*p+:INPUT],
          write_input_data[BITS*p+:BITS], own_valid[p], own[ACCUMULATOR*p+:ACCUMULATOR]
      );
    end
  endgenerate
  links #(PES, ACCUMULATOR, TOGETHER) u_links (clk, joins, own_valid, own, valid, sum);
endmodule
