// Adds the entries whose gates are on to the sum of the list so far.
module gated_tree #(
    parameter LANES = 11,
    parameter SUM = 24
) (
    input clk,
    input first,
    input [LANES-1:0] gates,
    input [16*LANES-1:0] entries,
    output reg signed [SUM-1:0] sum
);
  reg signed [SUM-1:0] total;
  integer lane;
  always @* begin
    total = first ? 0 : sum;
    for (lane = 0; lane < LANES; lane = lane + 1)
      total = total + (SUM'($signed(entries[16*lane+:16])) & {SUM{gates[lane]}});
  end
  always @(posedge clk) sum <= total;
endmodule
