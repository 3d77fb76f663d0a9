// A sum and a product more.
module multiply_add #(
    parameter BITS = 16,
    parameter ACCUMULATOR = 40
) (
    input signed [BITS-1:0] weight,
    input signed [BITS-1:0] x,
    input signed [ACCUMULATOR-1:0] so_far,
    output signed [ACCUMULATOR-1:0] total
);
  wire signed [2*BITS-1:0] product = (2 * BITS)'(weight) * (2 * BITS)'(x);
  assign total = so_far + ACCUMULATOR'(product);
endmodule
