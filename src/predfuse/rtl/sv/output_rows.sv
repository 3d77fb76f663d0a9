// Results leave row by row, or FINISHED_ROWS at once, output by output: partial sums are read, then pass the two stages of
// the finishing units, residuals beside them. What is said of an item when its lists begin holds when its results leave,
// beside the lists of the next.
module output_rows #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter OUTPUTS = 32,
    parameter LISTS = 2,
    parameter ACCUMULATOR = 40,
    parameter FINISHED_ROWS = 1,  // a power of two, a divisor of TILE_ROWS
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
    /* verilator lint_off UNUSED */
    input [RESIDUAL-1:0] write_at,
    /* verilator lint_on UNUSED */
    input [FINISHED_ROWS-1:0] write_rows,
    input [16*TILE_COLUMNS*FINISHED_ROWS-1:0] write_data,
    input begins,  // lists of an item, described here
    input set,  // of words for its sums, and of rows of residuals
    input [OUTPUT-1:0] output_first,
    input [OUTPUT:0] output_end,
    input [ROWS-1:0] rows,
    input residual,
    input [5:0] residual_shift,
    input start,  // those before leave
    /* verilator lint_off UNUSED */
    input several,  // FINISHED_ROWS at once, else one by one
    /* verilator lint_on UNUSED */
    output reg [OUTPUT-1:0] at,
    input [RULE-1:0] rule,  // of output `at`: bias, shift, place
    output [WORD-1:0] read_word,
    input [LISTS-1:0] begun,  // a list without sums has sums of 0
    input [LISTS*PIXELS*ACCUMULATOR-1:0] sums,
    output busy,
    output reg valid,
    output reg [15:0] channel,
    output reg [7:0] row,  // the first of those that leave
    output reg [FINISHED_ROWS-1:0] present,  // which rows from there on
    output reg [16*TILE_COLUMNS*FINISHED_ROWS-1:0] data
);
  localparam ITEM = OUTPUT + OUTPUT + 1 + ROWS + 8;
  reg [ITEM-1:0] coming;
  wire [OUTPUT-1:0] coming_first = coming[OUTPUT-1:0];
  reg second, adds;
  reg [5:0] adds_shift;
  reg [OUTPUT:0] end_at;
  reg [ROWS-1:0] rows_now, now;
  localparam HALF = OUTPUTS / LISTS / 2 * LISTS;
  wire [OUTPUT:0] place_at = (OUTPUT + 1)'(at) + ({OUTPUT + 1{second}} & (OUTPUT + 1)'(HALF));
  wire [OUTPUT-1:0] place = OUTPUT'(place_at >= (OUTPUT + 1)'(OUTPUTS) ? place_at - (OUTPUT + 1)'(OUTPUTS) : place_at);
  assign read_word = WORD'(place / OUTPUT'(LISTS));
  localparam WIDE = TILE_COLUMNS * ACCUMULATOR;
  reg [WIDE*FINISHED_ROWS-1:0] row_sums;
  integer t, r, n;
  // Only the first of the rows that leave may be any; those behind it are so many behind a multiple of FINISHED_ROWS.
  always @* begin
    row_sums = 0;
    for (t = 0; t < LISTS; t = t + 1)
      for (r = 0; r < TILE_ROWS; r = r + 1)
        if (begun[t] && at % OUTPUT'(LISTS) == OUTPUT'(t) && now == ROWS'(r)) begin
          row_sums[0+:WIDE] = sums[WIDE*(TILE_ROWS*t+r)+:WIDE];
          for (n = 1; n < FINISHED_ROWS; n = n + 1)
            if (r % FINISHED_ROWS == 0) row_sums[WIDE*n+:WIDE] = sums[WIDE*(TILE_ROWS*t+r+n)+:WIDE];
        end
  end
  // Rows of residuals lie in as many memories as leave at once.
  localparam BANK_WORDS = OUTPUTS * TILE_ROWS / FINISHED_ROWS, BANK_AT = $clog2(BANK_WORDS);
  localparam ROW_BITS = 16 * TILE_COLUMNS;
  wire [ROW_BITS*FINISHED_ROWS-1:0] read_x, y;
  reg [ROW_BITS*FINISHED_ROWS-1:0] residual_x;
  genvar b;
  generate
    for (b = 0; b < FINISHED_ROWS; b = b + 1) begin : g_residual
      memory #(ROW_BITS, BANK_WORDS) u_residual (
          .clk(clk),
          .write(write_residual & write_rows[b]),
          .write_at(BANK_AT'(32'(write_at) / FINISHED_ROWS)),
          .write_data(write_data[ROW_BITS*b+:ROW_BITS]),
          .read_at(BANK_AT'((32'(place) * TILE_ROWS + 32'(now)) / FINISHED_ROWS)),
          .read_data(read_x[ROW_BITS*b+:ROW_BITS])
      );
    end
  endgenerate
  always @* begin
    residual_x = read_x;
    for (n = 1; n < FINISHED_ROWS; n = n + 1)
      if (32'(now) % FINISHED_ROWS == n) residual_x[0+:ROW_BITS] = read_x[ROW_BITS*n+:ROW_BITS];
  end
  // Stage 1: what was read. The others are in the finishing units, and `data`.
  reg [WIDE*FINISHED_ROWS-1:0] sums1;
  reg [RULE-1:0] rule1;
  reg [ROW_BITS*FINISHED_ROWS-1:0] residual1;
  reg reading, valid1, valid2;
  reg [7:0] row1, row2;
  reg [15:0] channel2;
  reg [FINISHED_ROWS-1:0] there, present1, present2;
  always @* begin
    there = 1;
    for (n = 1; n < FINISHED_ROWS; n = n + 1) there[n] = several & (32'(now) + n < 32'(rows_now));
  end
  finish #(TILE_COLUMNS * FINISHED_ROWS, ACCUMULATOR) u_finish (
      .clk(clk),
      .sums(sums1),
      .bias(rule1[0+:ACCUMULATOR]),
      .shift(rule1[ACCUMULATOR+:6]),
      .residual(adds),
      .residual_shift(adds_shift),
      .residual_x(residual1),
      .y(y)
  );
  wire [ROWS:0] next = (ROWS + 1)'(now) + (several ? (ROWS + 1)'(FINISHED_ROWS) : 1);
  wire last_row = next >= (ROWS + 1)'(rows_now);
  assign busy = reading | valid1 | valid2;
  always @(posedge clk) begin
    sums1 <= row_sums;
    rule1 <= rule;
    residual1 <= residual_x;
    row1 <= 8'(now);
    row2 <= row1;
    present1 <= there;
    present2 <= present1;
    channel2 <= rule1[ACCUMULATOR+6+:16];
    valid1 <= reading & ~rst;
    valid2 <= valid1 & ~rst;
    valid <= valid2;
    channel <= channel2;
    row <= row2;
    present <= present2;
    data <= y;
    if (begins) coming <= {set, residual_shift, residual, rows, output_end, output_first};
    if (start) {second, adds_shift, adds, rows_now, end_at} <= coming[ITEM-1:OUTPUT];
    if (rst) reading <= 0;
    else if (start) begin
      reading <= 1;
      at <= coming_first;
      now <= 0;
    end else if (reading) begin
      now <= last_row ? 0 : ROWS'(next);
      if (last_row) at <= at + 1;
      reading <= ~(last_row & ((OUTPUT + 1)'(at) + 1 == end_at));
    end
  end
endmodule
