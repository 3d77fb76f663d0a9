// Multiplies the sum of a list by an activation and adds the product to the partial sum of its output.
module partial_sums #(
    parameter SUM = 24,
    parameter ACCUMULATOR = 40,
    parameter WORDS = 16,
    parameter ADDRESS = $clog2(WORDS)
) (
    input clk,
    input add,
    input begun,  // the word holds a sum already
    input [ADDRESS-1:0] word,
    input signed [SUM-1:0] sum,
    input signed [15:0] x,
    input [ADDRESS-1:0] read_at,
    output [ACCUMULATOR-1:0] read_data
);
  wire signed [ACCUMULATOR-1:0] so_far, held;
  wire signed [SUM+15:0] product = (SUM + 16)'(sum) * (SUM + 16)'(x);
  assign so_far = begun ? held : 0;
  small_memory #(ACCUMULATOR, WORDS) u_sums (
      .clk(clk),
      .write(add),
      .write_at(word),
      .write_data(so_far + ACCUMULATOR'(product)),
      .read_at({read_at, word}),
      .read_data({read_data, held})
  );
endmodule
