// Reads records from the global buffer and writes them into the memories of the core: a record is some pieces, rows of a
// plane or parts of a word. What an access reads is turned so that its first pixel comes first. An access brings a part of
// a word, a row, or several rows of a plane that lie 2, 4 or 8 words behind each other: those of the same multiple of their
// number, so that every row has one place. Residuals (region 17) are written access by access, one row or several of them.
module fill #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter KERNEL = 3,
    parameter SIDE = 10,
    parameter DATA = 4624,
    parameter BANKS = 8,
    parameter PIXELS = 4,
    parameter LINES = 480,
    parameter ACCESS_ROWS = 1,  // that an access brings at most, a power of two
    parameter PITCHES = 0,  // of such rows: 2, 4 or 8 words; of how many there come several at once
    parameter FINISHED_ROWS = 1,  // of residuals that are written at once at most
    parameter LINE = BANKS * PIXELS,
    parameter HIGH = 2 * (TILE_ROWS - 1) + KERNEL,
    parameter WIDE = 2 * (TILE_COLUMNS - 1) + KERNEL,
    parameter TALL = HIGH > SIDE ? HIGH : SIDE,
    parameter WORD_PIECES = (DATA + 16 * LINE - 1) / (16 * LINE),
    parameter PIECES = TALL > WORD_PIECES ? TALL : WORD_PIECES,
    parameter ROW = $clog2(LINES),
    parameter BANK = $clog2(BANKS),
    parameter SPAN = $clog2(BANKS + 1),
    parameter PIXEL = $clog2(PIXELS),
    parameter PIECE = $clog2(PIECES + 1),
    parameter COLUMN = $clog2(LINE + 1),
    parameter PITCH = $clog2(PITCHES + 1),
    parameter FIELDS = 37 + 3 * (ROW + BANK) + PIXEL + SPAN + 2 * PIECE + 2 * COLUMN + PITCH
) (
    input clk,
    input rst,
    input start,
    input [FIELDS-1:0] fields,
    output request,
    output reg [ROW-1:0] row,
    output reg [BANK-1:0] bank,
    output [SPAN-1:0] span,
    input grant,
    input [16*LINE-1:0] read_data,
    output reg write,
    output reg [4:0] write_region,
    output reg [15:0] write_at,
    output reg [FINISHED_ROWS-1:0] write_rows,  // of residuals, from a multiple of FINISHED_ROWS on
    output reg [DATA-1:0] write_data,
    output ready,  // a fill may start: this is the last access of the one at hand
    output reads,  // there is more to write than is written now
    output busy
);
  typedef struct packed {
    logic [COLUMN-1:0] column_end, column_first;
    logic [PIECE-1:0] piece_end, piece_first;
    logic [SPAN-1:0] span;
    logic [PIXEL-1:0] pixel;
    logic [BANK-1:0] record_banks;
    logic [ROW-1:0] record_rows;
    logic [BANK-1:0] piece_banks;
    logic [ROW-1:0] piece_rows;
    logic [BANK-1:0] bank;
    logic [ROW-1:0] row;
    logic [15:0] count, index;
    logic [4:0] region;
  } fill_fields;
  /* verilator lint_off UNUSED */
  fill_fields told, coming;  // each is used in part
  /* verilator lint_on UNUSED */
  assign coming = (FIELDS - PITCH)'(fields);
  // Rows that lie 2 ** pitch words apart come so many at a time: those of a window of a tile at stride 1 find room, and
  // half of them are fewer than a plane has.
  localparam NEAR = (TILE_COLUMNS + KERNEL + 2 * PIXELS - 3) / PIXELS;
  function automatic integer rows_at(input integer pitch);
    integer words;
    words = pitch == 0 ? BANKS : 2 ** pitch;
    rows_at = ACCESS_ROWS;
    while (rows_at > 1 && ((rows_at - 1) * words + (words < NEAR ? words + 1 : NEAR) > BANKS || rows_at / 2 >= TALL))
      rows_at = rows_at / 2;
  endfunction
  reg [PITCH:0] pitch;  // 0: one row an access
  wire [PITCH:0] coming_pitch = (PITCH + 1)'(fields >> FIELDS - PITCH);
  function automatic [PIECE:0] rows_of(input [PITCH:0] told_pitch);
    integer m;
    rows_of = 1;
    for (m = 1; m <= PITCHES; m = m + 1) if (told_pitch == (PITCH + 1)'(m)) rows_of = (PIECE + 1)'(rows_at(m));
  endfunction
  assign span = told.span;
  wire adds = told.region == 5'd17;

  // Which piece is asked for.
  reg [15:0] left, index;
  reg [PIECE:0] piece;  // the first of the access
  reg [ROW-1:0] record_row;
  reg [BANK-1:0] record_bank;
  wire [ROW-1:0] piece_next_row, record_next_row;
  wire [BANK-1:0] piece_next_bank, record_next_bank;
  address_sum #(BANKS, ROW) u_piece (row, bank, told.piece_rows, told.piece_banks, piece_next_row, piece_next_bank);
  address_sum #(BANKS, ROW) u_record (
      record_row, record_bank, told.record_rows, told.record_banks, record_next_row, record_next_bank
  );
  assign request = left != 0;
  wire step = request & grant;
  wire [PIECE:0] row_at = piece & (PIECE + 1)'(FINISHED_ROWS - 1);  // of residuals, among those written at once
  wire [PIECE:0] next_piece = piece + rows_of(pitch);
  wire last = next_piece >= {1'b0, told.piece_end};
  wire [PIECE:0] first_piece = {1'b0, told.piece_first} & ~(rows_of(pitch) - 1);
  assign ready = ~request | (step & last & (left == 1));
  // Row r of a plane stands in a place of its own, a part of a word where whole rows do.
  localparam ROOM = WIDE > SIDE ? WIDE : SIDE;
  localparam UNIT = LINE > ACCESS_ROWS * ROOM ? LINE : ACCESS_ROWS * ROOM;
  localparam ROW_UNITS = (TALL + ACCESS_ROWS - 1) / ACCESS_ROWS;
  localparam UNITS = ROW_UNITS > WORD_PIECES ? ROW_UNITS : WORD_PIECES;
  reg [UNITS*ACCESS_ROWS-1:0] wanted;
  // Stage 1: it comes; stage 2: the record is whole.
  reg come, come_first, come_last, come_rows;
  reg [PIECE:0] come_piece;
  reg [PIECE-1:0] come_row_first, come_row_end;
  reg [PITCH:0] come_pitch;
  reg [BANK-1:0] come_bank;
  reg [15:0] come_index;
  reg [4:0] come_region;
  reg [PIXEL-1:0] come_pixel;
  reg [COLUMN-1:0] come_column_first, come_column_end;
  assign reads = request | come;
  assign busy = reads | write;
  always @(posedge clk) begin
    come <= step & ~rst;
    come_first <= piece == first_piece | adds;
    come_last <= last | adds;
    come_piece <= adds ? row_at : piece;
    come_row_first <= adds ? 0 : told.piece_first;
    come_row_end <= adds ? told.piece_end - PIECE'(piece - row_at) : told.piece_end;
    come_rows <= adds | told.region == 5'd14 | told.region == 5'd15;
    come_pitch <= pitch;
    come_bank <= bank;
    come_index <= adds ? 16'(32'(index) * TILE_ROWS + 32'(piece)) : index;
    come_region <= told.region;
    come_pixel <= told.pixel;
    come_column_first <= told.column_first;
    come_column_end <= told.column_end;
    write <= come & come_last & ~rst;
    write_region <= come_region;
    write_at <= come_index;
    write_rows <= wanted[FINISHED_ROWS-1:0];
    if (rst) left <= 0;
    else if (start) begin
      told <= coming;
      pitch <= coming_pitch;
      left <= coming.count;
      index <= coming.index;
      piece <= {1'b0, coming.piece_first} & ~(rows_of(coming_pitch) - 1);
      row <= coming.row;
      bank <= coming.bank;
      record_row <= coming.row;
      record_bank <= coming.bank;
    end else if (step) begin
      piece <= last ? first_piece : next_piece;
      row <= last ? record_next_row : piece_next_row;
      bank <= last ? record_next_bank : piece_next_bank;
      if (last) begin
        record_row <= record_next_row;
        record_bank <= record_next_bank;
        index <= index + 1;
        left <= left - 1;
      end
    end
  end
  wire [16*LINE-1:0] turned = (16 * LINE)'({read_data, read_data} >> 16 * (32'(come_bank) * PIXELS + 32'(come_pixel)));
  reg [16*UNIT-1:0] brought;
  integer n, c, m, from;
  always @* begin
    brought = come_rows ? 0 : (16 * UNIT)'(turned);
    for (n = 0; n < ACCESS_ROWS; n = n + 1)
      for (c = 0; c < ROOM; c = c + 1)
        for (m = 0; m <= PITCHES; m = m + 1) begin
          from = c + (m == 0 ? 0 : (n % rows_at(m)) * 2 ** m * PIXELS);
          if (from < LINE && come_rows && come_pitch == (PITCH + 1)'(m) && COLUMN'(c) >= come_column_first
              && COLUMN'(c) < come_column_end)
            brought[16*(n*ROOM+c)+:16] = turned[16*from+:16];
        end
  end
  integer r;
  always @*
    for (r = 0; r < UNITS * ACCESS_ROWS; r = r + 1)
      wanted[r] = r >= 32'(come_row_first) && r < 32'(come_row_end) && (PIECE + 1)'(r) >= come_piece
          && (PIECE + 1)'(r) < come_piece + rows_of(come_pitch);
  /* verilator lint_off UNUSED */
  reg [16*UNIT-1:0] units[0:UNITS-1];  // a part of a word and rows may be more than there are
  /* verilator lint_on UNUSED */
  integer k, q;
  always @(posedge clk)
    if (come)
      for (k = 0; k < UNITS; k = k + 1)
        for (q = 0; q < UNIT; q = q + 1)
          if (come_rows ? q < ACCESS_ROWS * ROOM && wanted[k*ACCESS_ROWS+q/ROOM%ACCESS_ROWS] : come_piece == (PIECE + 1)'(k))
            units[k][16*q+:16] <= brought[16*q+:16];
          else if (come_first) units[k][16*q+:16] <= 0;
  /* verilator lint_off UNUSED */
  reg [16*LINE*WORD_PIECES-1:0] words;  // the last piece may be more than a word has
  /* verilator lint_on UNUSED */
  reg [16*HIGH*WIDE-1:0] plane;
  reg [16*SIDE*SIDE-1:0] part;
  reg [16*TILE_COLUMNS*FINISHED_ROWS-1:0] added;
  integer w;
  always @* begin
    for (w = 0; w < WORD_PIECES; w = w + 1) words[16*LINE*w+:16*LINE] = units[w][16*LINE-1:0];
    for (w = 0; w < HIGH; w = w + 1)
      plane[16*WIDE*w+:16*WIDE] = units[w/ACCESS_ROWS][16*ROOM*(w%ACCESS_ROWS)+:16*WIDE];
    for (w = 0; w < SIDE; w = w + 1)
      part[16*SIDE*w+:16*SIDE] = units[w/ACCESS_ROWS][16*ROOM*(w%ACCESS_ROWS)+:16*SIDE];
    for (w = 0; w < FINISHED_ROWS; w = w + 1)
      added[16*TILE_COLUMNS*w+:16*TILE_COLUMNS] = units[w/ACCESS_ROWS][16*ROOM*(w%ACCESS_ROWS)+:16*TILE_COLUMNS];
    case (write_region)
      5'd14:   write_data = DATA'(plane);
      5'd15:   write_data = DATA'(part);
      5'd17:   write_data = DATA'(added);
      default: write_data = DATA'(words);
    endcase
  end
endmodule
