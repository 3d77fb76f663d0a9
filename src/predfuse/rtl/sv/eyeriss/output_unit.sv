// One output of a cycle out of its sum, a cycle after it left its column: bias, rounding shift, activation, saturation.
module output_unit #(
    parameter ACCUMULATOR = 40,
    parameter BITS = 16
) (
    input clk,
    input signed [ACCUMULATOR-1:0] sum,  // bias and the rest are told with the cycle after
    input signed [ACCUMULATOR-1:0] bias,
    input [5:0] shift,
    input relu,
    output signed [BITS-1:0] y
);
  localparam WIDE = ACCUMULATOR + 3;
  reg signed [ACCUMULATOR-1:0] held;
  always @(posedge clk) held <= sum;
  // An output beyond its range is told by bits of what is shifted that are not its sign: no shifter is wider.
  wire [WIDE-1:0] above = {WIDE{1'b1}} << (7'(shift) + 7'(BITS));
  wire signed [WIDE-2:0] total = (WIDE - 1)'(held) + (WIDE - 1)'(bias);
  wire signed [WIDE-1:0] doubled = {total, 1'b0};
  wire sign = doubled[WIDE-1];
  wire beyond = |((doubled ^ {WIDE{sign}}) & above);
  /* verilator lint_off UNUSED */
  wire signed [WIDE-1:0] all = doubled >>> shift;
  /* verilator lint_on UNUSED */
  wire signed [BITS:0] moved = all[BITS:0];
  wire signed [BITS:0] rounded = {moved[BITS], moved[BITS:1]} + (BITS + 1)'(moved[0]);
  wire signed [BITS-1:0] own = beyond || rounded[BITS] != rounded[BITS-1] ? {sign, {(BITS - 1) {~sign}}} : rounded[BITS-1:0];
  assign y = relu & sign ? '0 : own;
endmodule
