// Results of one row of a tile in two stages: bias, rounding shift and saturation, then the residual.
module finish #(
    parameter COLUMNS = 8,
    parameter ACCUMULATOR = 40
) (
    input clk,
    input [COLUMNS*ACCUMULATOR-1:0] sums,
    input signed [ACCUMULATOR-1:0] bias,
    input [5:0] shift,
    input residual,
    input signed [5:0] residual_shift,
    input [16*COLUMNS-1:0] residual_x,
    output [16*COLUMNS-1:0] y
);
  localparam WIDE = ACCUMULATOR + 3;
  // A result out of 17 bits is told by bits of what is shifted that are not its sign: no shifter is wider.
  wire [WIDE-1:0] above = {WIDE{1'b1}} << (7'(shift) + 7'd16);
  wire [4:0] up = residual_shift > 0 ? residual_shift[4:0] : 5'd0;
  wire [4:0] down = residual_shift < 0 ? 5'(-residual_shift) : 5'd0;
  wire [15:0] above2 = ~(16'hFFFF >> down);
  genvar c;
  generate
    for (c = 0; c < COLUMNS; c = c + 1) begin : g_pixel
      wire signed [WIDE-2:0] total = (WIDE - 1)'($signed(sums[ACCUMULATOR*c+:ACCUMULATOR])) + (WIDE - 1)'(bias);
      wire signed [WIDE-1:0] doubled = {total, 1'b0};
      wire sign = doubled[WIDE-1];
      wire beyond = |((doubled ^ {WIDE{sign}}) & above);
      /* verilator lint_off UNUSED */
      wire signed [WIDE-1:0] all = doubled >>> shift;
      /* verilator lint_on UNUSED */
      wire signed [16:0] moved = all[16:0];
      wire signed [16:0] rounded = {moved[16], moved[16:1]} + 17'(moved[0]);
      wire signed [15:0] own = beyond || rounded[16] != rounded[15] ? {sign, {15{~sign}}} : rounded[15:0];
      reg signed [15:0] own2, x2;
      always @(posedge clk) begin
        own2 <= own;
        x2   <= residual_x[16*c+:16];
      end
      // Rounding the whole is rounding the residual, which alone has places below.
      wire sign2 = x2[15];
      wire beyond2 = |((x2 ^ {16{sign2}}) & above2) | (sign2 & (down > 16));
      wire signed [16:0] moved2 = $signed({x2, 1'b0}) >>> up;
      wire signed [17:0] right = {{2{moved2[16]}}, moved2[16:1]} + 18'(moved2[0]);
      wire signed [16:0] left = beyond2 ? {sign2, {16{~sign2}}} : {sign2, x2} << down;
      wire signed [17:0] added = 18'(own2) + (residual_shift > 0 ? right : 18'(left));
      wire fits = added[17:15] == {3{added[17]}};
      assign y[16*c+:16] = ~residual ? own2 : fits ? added[15:0] : {added[17], {15{~added[17]}}};
    end
  endgenerate
endmodule
