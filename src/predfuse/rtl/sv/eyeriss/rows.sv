// What the rows of a column do: what the first does, a cycle later from some rows on.
module rows #(
    parameter PES = 3,
    parameter LEAD = 10,
    parameter TOGETHER = 4  // rows that do the same in the same cycle
) (
    /* verilator lint_off UNUSED */
    input clk,  // of few rows nothing is kept
    /* verilator lint_on UNUSED */
    input [LEAD-1:0] first,
    output [PES*LEAD-1:0] each_row
);
  assign each_row[0+:LEAD] = first;
  genvar p;
  generate
    for (p = 1; p < PES; p = p + 1) begin : g_row
      if (p % TOGETHER == 0) begin : g_later
        later #(LEAD) u_later (clk, each_row[LEAD*(p-1)+:LEAD], each_row[LEAD*p+:LEAD]);
      end else begin : g_same
        assign each_row[LEAD*p+:LEAD] = each_row[LEAD*(p-1)+:LEAD];
      end
    end
  endgenerate
endmodule
