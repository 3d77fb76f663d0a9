// What every PE has beside its weights: a window of inputs, partial sums, one multiplication a cycle. A sum leaves with
// its last product, straight from the adder, and what stays for the next pixel is zero: no cycle is lost between pixels.
module pe #(
    parameter INPUTS = 12,
    parameter SUMS = 4,
    parameter BITS = 16,
    parameter ACCUMULATOR = 40,
    parameter INPUT = $clog2(INPUTS),
    parameter SUM = $clog2(SUMS)
) (
    input clk,
    input work,
    input [BITS-1:0] weight,
    input [INPUT-1:0] input_at,
    input [SUM-1:0] sum_at,
    input last,  // product of its sum
    input write_input,
    input [INPUT-1:0] write_input_at,
    input [BITS-1:0] write_input_data,
    output valid,
    output [ACCUMULATOR-1:0] total
);
  wire [BITS-1:0] x;
  wire [ACCUMULATOR-1:0] so_far;
  memory #(BITS, INPUTS) inputs (clk, write_input, write_input_at, write_input_data, input_at, x);
  memory #(ACCUMULATOR, SUMS) sums (clk, work, sum_at, total & {ACCUMULATOR{~last}}, sum_at, so_far);
  multiply_add #(BITS, ACCUMULATOR) u_multiply_add (weight, x, so_far, total);
  assign valid = work & last;
endmodule
