// Reads records from the global buffer and writes them into the memories of the core: a record is some pieces, each read
// at once and turned so that its first pixel comes first; rows of a plane, or parts of a word. One piece a cycle. Residuals
// (region 17) are written piece by piece.
module fill #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter KERNEL = 3,
    parameter SIDE = 10,
    parameter DATA = 4624,
    parameter BANKS = 8,
    parameter PIXELS = 4,
    parameter LINES = 480,
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
    parameter FIELDS = 37 + 3 * (ROW + BANK) + PIXEL + SPAN + 2 * PIECE + 2 * COLUMN
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
    output reg [DATA-1:0] write_data,
    output ready,  // a fill may start: this is the last access of the one at hand
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
  assign coming = fields;
  assign span = told.span;
  wire single = told.region == 5'd17;

  // Which piece is asked for.
  reg [15:0] left, index;
  reg [PIECE-1:0] piece;
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
  wire last = piece + 1 == told.piece_end;
  assign ready = ~request | (step & last & (left == 1));
  // Stage 1: it comes; stage 2: the record is whole.
  reg come, come_first, come_last;
  reg [PIECE-1:0] come_piece;
  reg [BANK-1:0] come_bank;
  reg [15:0] come_index;
  reg [4:0] come_region;
  reg [PIXEL-1:0] come_pixel;
  reg [COLUMN-1:0] come_column_first, come_column_end;
  assign busy = request | come | write;
  always @(posedge clk) begin
    come <= step & ~rst;
    come_first <= piece == told.piece_first;
    come_last <= last | single;
    come_piece <= single ? 0 : piece;
    come_bank <= bank;
    come_index <= single ? 16'(32'(index) * TILE_ROWS + 32'(piece)) : index;
    come_region <= told.region;
    come_pixel <= told.pixel;
    come_column_first <= told.column_first;
    come_column_end <= told.column_end;
    write <= come & come_last & ~rst;
    write_region <= come_region;
    write_at <= come_index;
    if (rst) left <= 0;
    else if (start) begin
      told <= fields;
      left <= coming.count;
      index <= coming.index;
      piece <= coming.piece_first;
      row <= coming.row;
      bank <= coming.bank;
      record_row <= coming.row;
      record_bank <= coming.bank;
    end else if (step) begin
      piece <= last ? told.piece_first : piece + 1;
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
  reg [16*LINE-1:0] turned;
  integer p;
  always @* begin
    turned = (16 * LINE)'({read_data, read_data} >> 16 * (32'(come_bank) * PIXELS + 32'(come_pixel)));
    for (p = 0; p < LINE; p = p + 1)
      if (COLUMN'(p) < come_column_first || COLUMN'(p) >= come_column_end) turned[16*p+:16] = 0;
  end
  reg [16*LINE-1:0] pieces[0:PIECES-1];
  integer k;
  always @(posedge clk)
    if (come)
      for (k = 0; k < PIECES; k = k + 1)
        if (come_piece == PIECE'(k)) pieces[k] <= turned;
        else if (come_first) pieces[k] <= 0;
  // A plane has its rows one behind the other, a word its pieces.
  /* verilator lint_off UNUSED */
  reg [16*LINE*WORD_PIECES-1:0] words;  // the last piece may be more than a word has
  /* verilator lint_on UNUSED */
  reg [16*HIGH*WIDE-1:0] plane;
  reg [16*SIDE*SIDE-1:0] part;
  integer r;
  always @* begin
    for (r = 0; r < WORD_PIECES; r = r + 1) words[16*LINE*r+:16*LINE] = pieces[r];
    for (r = 0; r < HIGH; r = r + 1) plane[16*WIDE*r+:16*WIDE] = pieces[r][16*WIDE-1:0];
    for (r = 0; r < SIDE; r = r + 1) part[16*SIDE*r+:16*SIDE] = pieces[r][16*SIDE-1:0];
    case (write_region)
      5'd14:   write_data = DATA'(plane);
      5'd15:   write_data = DATA'(part);
      default: write_data = DATA'(words);
    endcase
  end
endmodule
