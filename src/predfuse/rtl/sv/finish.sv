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
  localparam WIDE = ACCUMULATOR + 2;
  wire [4:0] up = residual_shift > 0 ? residual_shift[4:0] : 5'd0;
  wire [4:0] down = residual_shift < 0 ? 5'(-residual_shift) : 5'd0;
  genvar c;
  generate
    for (c = 0; c < COLUMNS; c = c + 1) begin : g_pixel
      wire signed [WIDE-1:0] total = WIDE'($signed(sums[ACCUMULATOR*c+:ACCUMULATOR])) + WIDE'(bias);
      wire signed [WIDE:0] doubled = {total, 1'b0};
      wire signed [WIDE:0] moved = doubled >>> shift;
      wire signed [WIDE:0] rounded = (moved + 1) >>> 1;
      wire signed [15:0] own = rounded > 32767 ? 16'sd32767 : rounded < -32768 ? -16'sd32768 : rounded[15:0];
      reg signed [15:0] own2, x2;
      always @(posedge clk) begin
        own2 <= own;
        x2   <= residual_x[16*c+:16];
      end
      wire signed [49:0] added = (50'(own2) <<< up) + (50'(x2) <<< down);
      wire signed [50:0] doubled2 = {added, 1'b0};
      wire signed [50:0] moved2 = doubled2 >>> up;
      wire signed [50:0] rounded2 = (moved2 + 1) >>> 1;
      wire signed [15:0] with_x = rounded2 > 32767 ? 16'sd32767 : rounded2 < -32768 ? -16'sd32768 : rounded2[15:0];
      assign y[16*c+:16] = residual ? with_x : own2;
    end
  endgenerate
endmodule
