// The sums of a column, row by row: that of a row has all rows before it that work on the same outputs. The lists are made
// so that these give a sum away in the same cycle. Every few rows the sums, and the work of the rows, are a cycle later.
module links #(
    parameter PES = 3,
    parameter ACCUMULATOR = 40,
    parameter TOGETHER = 4  // rows a sum passes in a cycle
) (
    /* verilator lint_off UNUSED */
    input clk,  // of few rows nothing is kept
    input [PES-1:0] joins,  // a row to the one above; the first has none
    /* verilator lint_on UNUSED */
    input [PES-1:0] own_valid,
    input [PES*ACCUMULATOR-1:0] own,
    output [PES-1:0] valid,
    output [PES*ACCUMULATOR-1:0] sum
);
  assign valid[0] = own_valid[0];
  assign sum[0+:ACCUMULATOR] = own[0+:ACCUMULATOR];
  genvar p;
  generate
    for (p = 1; p < PES; p = p + 1) begin : g_row
      wire [ACCUMULATOR:0] above;
      if (p % TOGETHER == 0) begin : g_later
        later #(ACCUMULATOR + 1) u_later (clk, {valid[p-1], sum[ACCUMULATOR*(p-1)+:ACCUMULATOR]}, above);
      end else begin : g_same
        assign above = {valid[p-1], sum[ACCUMULATOR*(p-1)+:ACCUMULATOR]};
      end
      link #(ACCUMULATOR) u_link (
          joins[p], above[ACCUMULATOR], above[ACCUMULATOR-1:0], own_valid[p], own[ACCUMULATOR*p+:ACCUMULATOR],
          valid[p], sum[ACCUMULATOR*p+:ACCUMULATOR]
      );
    end
  endgenerate
endmodule
