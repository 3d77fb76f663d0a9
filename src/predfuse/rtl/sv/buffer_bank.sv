// One bank of the global buffer: one access a cycle, a read word comes a cycle later; 16-bit pixels are written singly.
module buffer_bank #(
    parameter PIXELS = 4,
    parameter DEPTH = 480,
    parameter ADDRESS = $clog2(DEPTH)
) (
    input clk,
    input access,
    input [PIXELS-1:0] write,  // none: a read
    input [ADDRESS-1:0] at,
    input [16*PIXELS-1:0] write_data,
    output reg [16*PIXELS-1:0] read_data
);
  reg [16*PIXELS-1:0] words[0:DEPTH-1];
  integer p;
  always @(posedge clk)
    if (access) begin
      for (p = 0; p < PIXELS; p = p + 1) if (write[p]) words[at][16*p+:16] <= write_data[16*p+:16];
      if (write == 0) read_data <= words[at];
    end
endmodule
