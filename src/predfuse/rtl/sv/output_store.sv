// Writes rows of outputs into a map in the global buffer: an address is found in one cycle, the access is in the next.
module output_store #(
    parameter TILE_COLUMNS = 8,
    parameter BANKS = 8,
    parameter PIXELS = 4,
    parameter LINES = 480,
    parameter LINE = BANKS * PIXELS,
    parameter ROW = $clog2(LINES),
    parameter BANK = $clog2(BANKS),
    parameter SPAN = $clog2(BANKS + 1),
    parameter PIXEL = $clog2(PIXELS),
    parameter COLUMN = $clog2(TILE_COLUMNS + 1),
    parameter FIELDS = 3 * ROW + 2 * BANK + PIXEL + COLUMN
) (
    input clk,
    input rst,
    input [FIELDS-1:0] fields,
    input valid,
    input [15:0] channel,
    input [7:0] row,
    input [16*TILE_COLUMNS-1:0] data,
    output reg request,
    output reg [ROW-1:0] to_row,
    output reg [BANK-1:0] to_bank,
    output [SPAN-1:0] span,
    output [LINE-1:0] write,
    output [16*LINE-1:0] write_data
);
  wire [ROW-1:0] first_row, next_rows, plane;  // of channel 0; from row to row; from channel to channel
  wire [BANK-1:0] first_bank, next_banks;
  wire [PIXEL-1:0] pixel;
  wire [COLUMN-1:0] columns;
  assign {columns, pixel, plane, next_banks, next_rows, first_bank, first_row} = fields;
  wire [ROW-1:0] next_row;
  wire [BANK-1:0] next_bank;
  address_sum #(BANKS, ROW) u_next (to_row, to_bank, next_rows, next_banks, next_row, next_bank);
  reg [16*TILE_COLUMNS-1:0] pixels;
  always @(posedge clk) begin
    request <= valid & ~rst;
    pixels  <= data;
    if (valid) begin
      to_row  <= row == 0 ? first_row + ROW'(32'(channel) * 32'(plane)) : next_row;
      to_bank <= row == 0 ? first_bank : next_bank;
    end
  end
  assign span = SPAN'((32'(pixel) + 32'(columns) + PIXELS - 1) / PIXELS);
  wire [31:0] turn = 32'(to_bank) * PIXELS + 32'(pixel);
  wire [2*LINE-1:0] mask = (2 * LINE)'((TILE_COLUMNS + 1)'(1) << columns) - 1 << turn;
  wire [32*LINE-1:0] moved = (32 * LINE)'(pixels) << 16 * turn;
  assign write = mask[LINE-1:0] | mask[LINE+:LINE];
  assign write_data = moved[16*LINE-1:0] | moved[16*LINE+:16*LINE];
endmodule
