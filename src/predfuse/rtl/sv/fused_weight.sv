// A fused weight from its factors: R(R(project * factor, 15) * depthwise, shift), R rounding half up; two cycles.
// A depthwise bias has one product only: R(project * factor, shift).
module fused_weight #(
    parameter FACTOR = 24
) (
    input clk,
    input signed [15:0] project,
    input signed [FACTOR-1:0] factor,
    input signed [15:0] depthwise,
    input [5:0] shift,
    input direct,
    output reg signed [15:0] entry
);
  localparam PRODUCT = FACTOR + 16;
  localparam INNER = FACTOR + 2;  // a product shifted right by 15, and the carry of its rounding
  localparam OUTER = INNER + 16;
  reg signed [PRODUCT-1:0] product;
  reg signed [15:0] second;
  reg [5:0] places;
  reg one_product;
  always @(posedge clk) begin
    product <= PRODUCT'(project) * PRODUCT'(factor);
    second <= depthwise;
    places <= shift;
    one_product <= direct;
  end
  /* verilator lint_off UNUSED */
  wire signed [PRODUCT:0] half_up = (PRODUCT + 1)'(product) + (PRODUCT + 1)'(1 << 14);
  /* verilator lint_on UNUSED */
  wire signed [INNER-1:0] inner = half_up[PRODUCT:15];
  wire signed [OUTER-1:0] outer = one_product ? OUTER'(product) : OUTER'(inner) * OUTER'(second);
  // floor(v / 2**s + 1/2) = (floor(2 v / 2**s) + 1) >> 1, for s = 0 too. The program proves that entries have 16 bits.
  wire signed [OUTER:0] doubled = {outer, 1'b0};
  /* verilator lint_off UNUSED */
  wire signed [OUTER:0] moved = doubled >>> places;
  wire signed [16:0] rounded = moved[16:0] + 17'sd1;
  /* verilator lint_on UNUSED */
  always @(posedge clk) entry <= rounded[16:1];
endmodule
