// A PE whose list has only weights that are not zero, each with its index: which input of the window, which sum, and
// whether it is the last of that sum. Weights of zero, which change no sum, stand where it waits for other PEs.
module sparse_pe #(
    parameter WEIGHTS = 32,
    parameter INPUTS = 12,
    parameter SUMS = 4,
    parameter BITS = 16,
    parameter ACCUMULATOR = 40,
    parameter AT = $clog2(WEIGHTS),
    parameter INPUT = $clog2(INPUTS),
    parameter SUM = $clog2(SUMS),
    parameter INDEX = 1 + SUM + INPUT
) (
    input clk,
    input work,
    input [AT-1:0] at,
    input [INPUT-1:0] base,  // where the window begins in the ring of inputs
    input write_weight,
    input [AT-1:0] write_weight_at,
    input [BITS+INDEX-1:0] write_weight_data,  // index, weight
    input write_input,
    input [INPUT-1:0] write_input_at,
    input [BITS-1:0] write_input_data,
    output valid,
    output [ACCUMULATOR-1:0] total
);
  wire [BITS-1:0] weight;
  wire last;
  wire [INPUT-1:0] number, input_at;
  wire [SUM-1:0] sum_at;
  memory #(BITS + INDEX, WEIGHTS) weights (
      clk, write_weight, write_weight_at, write_weight_data, at, {last, sum_at, number, weight}
  );
  ring #(INPUTS) u_ring (number, base, input_at);
  pe #(INPUTS, SUMS, BITS, ACCUMULATOR) u_pe (
      clk, work, weight, input_at, sum_at, last, write_input, write_input_at, write_input_data, valid, total
  );
endmodule
