// Results leave row by row, output by output: partial sums through the finishing units, residuals beside them.
module output_rows #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter OUTPUTS = 32,
    parameter LISTS = 2,
    parameter ACCUMULATOR = 40,
    parameter OUTPUT = $clog2(OUTPUTS),
    parameter WORD = $clog2(OUTPUTS / LISTS),
    parameter ROWS = $clog2(TILE_ROWS + 1),
    parameter PIXELS = TILE_ROWS * TILE_COLUMNS,
    parameter RESIDUAL = $clog2(OUTPUTS * TILE_ROWS),
    parameter RULE = ACCUMULATOR + 6 + 16
) (
    input clk,
    input rst,
    input write_residual,
    input [RESIDUAL-1:0] write_at,
    input [16*TILE_COLUMNS-1:0] write_data,
    input start,
    input [OUTPUT:0] outputs,
    input [ROWS-1:0] rows,
    input residual,
    input [5:0] residual_shift,
    output reg [OUTPUT-1:0] at,
    input [RULE-1:0] rule,  // of output `at`: bias, shift, place
    output [WORD-1:0] read_word,
    input [LISTS*PIXELS*ACCUMULATOR-1:0] sums,
    output reg busy,
    output reg valid,
    output reg [15:0] channel,
    output reg [7:0] row,
    output reg [16*TILE_COLUMNS-1:0] data
);
  reg [ROWS-1:0] now;
  assign read_word = WORD'(at / OUTPUT'(LISTS));
  localparam WIDE = TILE_COLUMNS * ACCUMULATOR;
  reg [WIDE-1:0] row_sums;
  integer t, r;
  always @* begin
    row_sums = 0;
    for (t = 0; t < LISTS; t = t + 1)
      for (r = 0; r < TILE_ROWS; r = r + 1)
        if (at % OUTPUT'(LISTS) == OUTPUT'(t) && now == ROWS'(r)) row_sums = sums[WIDE*(TILE_ROWS*t+r)+:WIDE];
  end
  wire [16*TILE_COLUMNS-1:0] residual_x, y;
  memory #(16 * TILE_COLUMNS, OUTPUTS * TILE_ROWS) u_residual (
      .clk(clk),
      .write(write_residual),
      .write_at(write_at),
      .write_data(write_data),
      .read_at(RESIDUAL'(32'(at) * TILE_ROWS + 32'(now))),
      .read_data(residual_x)
  );
  finish #(TILE_COLUMNS, ACCUMULATOR) u_finish (
      .sums(row_sums),
      .bias(rule[0+:ACCUMULATOR]),
      .shift(rule[ACCUMULATOR+:6]),
      .residual(residual),
      .residual_shift(residual_shift),
      .residual_x(residual_x),
      .y(y)
  );
  wire last_row = now + 1 == rows;
  always @(posedge clk) begin
    valid <= busy;
    channel <= rule[ACCUMULATOR+6+:16];
    row <= 8'(now);
    data <= y;
    if (rst) busy <= 0;
    else if (start) begin
      busy <= 1;
      at <= 0;
      now <= 0;
    end else if (busy) begin
      now <= last_row ? 0 : now + 1;
      if (last_row) at <= at + 1;
      busy <= ~(last_row & ((OUTPUT + 1)'(at) + 1 == outputs));
    end
  end
endmodule
