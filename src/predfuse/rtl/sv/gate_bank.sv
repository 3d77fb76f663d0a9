// One bank of the gate memory: one access a cycle, a read first; a write changes the bits of `mask`.
module gate_bank #(
    parameter PIXELS = 64,
    parameter DEPTH = 284,
    parameter ADDRESS = $clog2(DEPTH)
) (
    input clk,
    input read,
    input [ADDRESS-1:0] read_at,
    output [PIXELS-1:0] read_data,
    input write,
    input [ADDRESS-1:0] write_at,
    input [PIXELS-1:0] write_data,
    input [PIXELS-1:0] mask
);
  reg [PIXELS-1:0] words[0:DEPTH-1];
  wire [ADDRESS-1:0] at = read ? read_at : write_at;
  assign read_data = words[at];
  integer i;
  always @(posedge clk) if (write & ~read) for (i = 0; i < PIXELS; i = i + 1) if (mask[i]) words[at][i] <= write_data[i];
endmodule
