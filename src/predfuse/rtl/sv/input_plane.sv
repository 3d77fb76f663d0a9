// Inputs of a tile, a plane a channel; gives every pixel what lies under one tap, two cycles after the column.
module input_plane #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter KERNEL = 3,
    parameter COLUMNS = 32,
    parameter COLUMN = $clog2(COLUMNS),
    parameter TAP = $clog2(KERNEL * KERNEL + 1),
    parameter HIGH = 2 * (TILE_ROWS - 1) + KERNEL,
    parameter WIDE = 2 * (TILE_COLUMNS - 1) + KERNEL
) (
    input clk,
    input write,
    input [COLUMN-1:0] write_at,
    input [16*HIGH*WIDE-1:0] write_data,
    input [COLUMN-1:0] column,
    input [TAP-1:0] tap,  // a cycle later
    input stride_2,
    output reg [16*TILE_ROWS*TILE_COLUMNS-1:0] x
);
  reg [16*HIGH*WIDE-1:0] planes[0:COLUMNS-1];
  reg [16*HIGH*WIDE-1:0] plane;
  always @(posedge clk) begin
    if (write) planes[write_at] <= write_data;
    plane <= planes[column];
  end
  reg [16*TILE_ROWS*TILE_COLUMNS-1:0] under;
  integer i, j, k;
  always @* begin
    under = 0;
    for (k = 0; k < KERNEL * KERNEL; k = k + 1)
      if (tap == TAP'(k))
        for (i = 0; i < TILE_ROWS; i = i + 1)
          for (j = 0; j < TILE_COLUMNS; j = j + 1) begin
            // Constants in each branch: a multiplexer of two words, no shifter of the plane.
            if (stride_2) under[16*(i*TILE_COLUMNS+j)+:16] = plane[16*((2*i+k/KERNEL)*WIDE+2*j+k%KERNEL)+:16];
            else under[16*(i*TILE_COLUMNS+j)+:16] = plane[16*((i+k/KERNEL)*WIDE+j+k%KERNEL)+:16];
          end
  end
  always @(posedge clk) x <= under;
endmodule
