// All PEs of the dense machine, which are in step, and what leads them: one index of every weight serves them all. Sums are
// added up along every column; every few rows of all do all a cycle later.
module dense_array #(
    parameter PES = 3,  // of a column
    parameter COLUMNS = 1,
    parameter WEIGHTS = 16,
    parameter INPUTS = 4,
    parameter SUMS = 2,
    parameter BITS = 16,
    parameter ACCUMULATOR = 40,
    parameter PIXEL = 12,
    parameter AT = $clog2(WEIGHTS),
    parameter INPUT = $clog2(INPUTS),
    parameter SUM = $clog2(SUMS),
    parameter INDEX = 1 + SUM + INPUT,
    parameter ALL = PES * COLUMNS,
    parameter TOGETHER = 4,
    parameter LEAD = 1 + AT + INDEX
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
    input [ALL-1:0] write_weight,
    input [ALL*AT-1:0] write_weight_at,
    input [ALL*BITS-1:0] write_weight_data,
    input [ALL-1:0] write_input,
    input [ALL*INPUT-1:0] write_input_at,
    input [ALL*BITS-1:0] write_input_data,
    input [PES-1:0] joins,  // in all columns
    output [ALL-1:0] valid,
    output [ALL*ACCUMULATOR-1:0] sum
);
  wire last;
  wire [SUM-1:0] sum_at;
  wire [ALL-1:0] own_valid;
  wire [ALL*ACCUMULATOR-1:0] own;
  wire [AT-1:0] at;
  wire [INPUT-1:0] base, number, input_at;
  walk #(WEIGHTS, INPUTS, PIXEL) u_walk (
      clk, rst, told, half, told_end, told_slide, told_more, taken, work, at, base
  );
  memory #(INDEX, WEIGHTS) index (clk, write_index, write_index_at, write_index_data, at, {last, sum_at, number});
  ring #(INPUTS) u_ring (number, base, input_at);
  wire [PES*LEAD-1:0] leads;
  rows #(PES, LEAD, TOGETHER) u_rows (clk, {work, at, input_at, sum_at, last}, leads);
  genvar p, c;
  generate
    for (p = 0; p < ALL; p = p + 1) begin : g_pe
      dense_pe #(WEIGHTS, INPUTS, SUMS, BITS, ACCUMULATOR) u_pe (
          clk, leads[LEAD*(p%PES)+:LEAD], write_weight[p], write_weight_at[AT*p+:AT], write_weight_data[BITS*p+:BITS],
          write_input[p], write_input_at[INPUT*p+:INPUT], write_input_data[BITS*p+:BITS], own_valid[p],
          own[ACCUMULATOR*p+:ACCUMULATOR]
      );
    end
    for (c = 0; c < COLUMNS; c = c + 1) begin : g_column
      links #(PES, ACCUMULATOR, TOGETHER) u_links (
          clk, joins, own_valid[PES*c+:PES], own[PES*ACCUMULATOR*c+:PES*ACCUMULATOR], valid[PES*c+:PES],
          sum[PES*ACCUMULATOR*c+:PES*ACCUMULATOR]
      );
    end
  endgenerate
endmodule
