// Writes rows of outputs into a map in the global buffer, one or FINISHED_ROWS in an access: an address is found in one
// cycle, the access is in the next.
module output_store #(
    parameter TILE_COLUMNS = 8,
    parameter BANKS = 8,
    parameter PIXELS = 4,
    parameter LINES = 480,
    parameter FINISHED_ROWS = 1,
    parameter LINE = BANKS * PIXELS,
    parameter ROW = $clog2(LINES),
    parameter BANK = $clog2(BANKS),
    parameter SPAN = $clog2(BANKS + 1),
    parameter PIXEL = $clog2(PIXELS),
    parameter COLUMN = $clog2(TILE_COLUMNS + 1),
    parameter FIELDS = 3 * ROW + 2 * BANK + PIXEL + COLUMN + 2
) (
    input clk,
    input rst,
    input [FIELDS-1:0] fields,
    input valid,
    input [15:0] channel,
    input [7:0] row,
    input [FINISHED_ROWS-1:0] present,
    input [16*TILE_COLUMNS*FINISHED_ROWS-1:0] data,
    output reg request,
    output reg [ROW-1:0] to_row,
    output reg [BANK-1:0] to_bank,
    output [SPAN-1:0] span,
    output [LINE-1:0] write,
    output [16*LINE-1:0] write_data
);
  wire [ROW-1:0] first_row, next_rows, plane;  // of channel 0; from access to access; from channel to channel
  wire [BANK-1:0] first_bank, next_banks;
  wire [PIXEL-1:0] pixel;
  wire [COLUMN-1:0] columns;
  wire [1:0] pitch;  // 0: one row; else rows of an access lie 2, 4 or 8 words apart
  assign {pitch, columns, pixel, plane, next_banks, next_rows, first_bank, first_row} = fields;
  wire [ROW-1:0] next_row;
  wire [BANK-1:0] next_bank;
  address_sum #(BANKS, ROW) u_next (to_row, to_bank, next_rows, next_banks, next_row, next_bank);
  reg [16*TILE_COLUMNS*FINISHED_ROWS-1:0] pixels;
  reg [FINISHED_ROWS-1:0] rows;
  always @(posedge clk) begin
    request <= valid & ~rst;
    pixels  <= data;
    rows    <= present;
    if (valid) begin
      to_row  <= row == 0 ? first_row + ROW'(32'(channel) * 32'(plane)) : next_row;
      to_bank <= row == 0 ? first_bank : next_bank;
    end
  end
  // Rows at their distances, then all of it turned.
  wire [LINE-1:0] of_row = LINE'((TILE_COLUMNS + 1)'(1) << columns) - 1;
  reg [LINE-1:0] spread;
  reg [16*LINE-1:0] spread_data;
  reg [16*TILE_COLUMNS*FINISHED_ROWS-1:0] shown;  // what is beyond the columns is 0: another row may lie there
  integer c, n, p;
  always @* begin
    for (n = 0; n < FINISHED_ROWS; n = n + 1)
      for (c = 0; c < TILE_COLUMNS; c = c + 1)
        shown[16*(TILE_COLUMNS*n+c)+:16] = pixels[16*(TILE_COLUMNS*n+c)+:16] & {16{COLUMN'(c) < columns}};
    spread = of_row;
    spread_data = (16 * LINE)'(shown[0+:16*TILE_COLUMNS]);
    for (n = 1; n < FINISHED_ROWS; n = n + 1)
      for (p = 1; p < 4; p = p + 1)
        if (rows[n] && pitch == 2'(p) && n * (PIXELS << p) < LINE) begin
          spread = spread | of_row << n * (PIXELS << p);
          spread_data = spread_data | (16 * LINE)'(shown[16*TILE_COLUMNS*n+:16*TILE_COLUMNS]) << 16 * n * (PIXELS << p);
        end
  end
  wire [31:0] apart = pitch == 0 ? 0 : (FINISHED_ROWS - 1) << pitch;  // words from the first row of an access to the last
  assign span = SPAN'(apart + (32'(pixel) + 32'(columns) + PIXELS - 1) / PIXELS);
  wire [31:0] turn = 32'(to_bank) * PIXELS + 32'(pixel);
  wire [2*LINE-1:0] mask = (2 * LINE)'(spread) << turn;
  wire [32*LINE-1:0] moved = (32 * LINE)'(spread_data) << 16 * turn;
  assign write = mask[LINE-1:0] | mask[LINE+:LINE];
  assign write_data = moved[16*LINE-1:0] | moved[16*LINE+:16*LINE];
endmodule
