// A memory whose words are some records each: written together, read one by one, in the cycle in which one is addressed.
module wide_memory #(
    parameter WIDTH = 16,
    parameter DEPTH = 128,  // records
    parameter TOGETHER = 4,
    parameter ADDRESS = $clog2(DEPTH),
    parameter WORD = $clog2(DEPTH / TOGETHER)
) (
    input clk,
    input write,
    input [WORD-1:0] write_at,
    input [TOGETHER*WIDTH-1:0] write_data,
    input [ADDRESS-1:0] read_at,
    output [WIDTH-1:0] read_data
);
  wire [TOGETHER*WIDTH-1:0] word;
  memory #(TOGETHER * WIDTH, DEPTH / TOGETHER) u_words (
      .clk(clk),
      .write(write),
      .write_at(write_at),
      .write_data(write_data),
      .read_at(WORD'(32'(read_at) / TOGETHER)),
      .read_data(word)
  );
  assign read_data = word[WIDTH*(32'(read_at)%TOGETHER)+:WIDTH];
endmodule
