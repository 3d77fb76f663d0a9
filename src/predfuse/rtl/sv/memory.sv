// A memory with one write port and one read port; a word is read in the cycle in which it is addressed.
module memory #(
    parameter WIDTH = 8,
    parameter DEPTH = 16,
    parameter ADDRESS = $clog2(DEPTH)
) (
    input clk,
    input write,
    input [ADDRESS-1:0] write_at,
    input [WIDTH-1:0] write_data,
    input [ADDRESS-1:0] read_at,
    output [WIDTH-1:0] read_data
);
  reg [WIDTH-1:0] words[0:DEPTH-1];
  always @(posedge clk) if (write) words[write_at] <= write_data;
  assign read_data = words[read_at];
endmodule
