// The same a cycle later, so that no path goes through many rows of a column.
module later #(
    parameter BITS = 41
) (
    input clk,
    input [BITS-1:0] now,
    output reg [BITS-1:0] then
);
  always @(posedge clk) then <= now;
endmodule
