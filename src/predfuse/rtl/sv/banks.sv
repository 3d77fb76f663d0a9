// All banks beside the lanes: a word of the write port is of every bank, bank 0 in the lowest bits; says which bank of the
// gate memory the word of a member lies in.
module banks #(
    parameter BANKS = 12,
    parameter LANES = 11,
    parameter WORDS = 4,
    parameter OUTPUT = 5,
    parameter SLOTS = 64,
    parameter TAPS = 9,
    parameter COLUMNS = 32,
    parameter TAP_WORDS = 128,
    parameter COLUMN_WORDS = 256,
    parameter PROJECT_ROWS = 78,
    parameter CODES = 2048,
    parameter LINE = 32,  // pixels of an access of the global buffer
    // Records of a word of the write port in each bank.
    parameter CODE_TOGETHER = 8,
    parameter MAP_TOGETHER = 1,
    parameter COLUMN_TOGETHER = 1,
    parameter SLOT_TOGETHER = 1,
    parameter BASES_TOGETHER = 2,
    parameter DEPTHWISE_TOGETHER = 2,
    parameter EXPAND_TOGETHER = 2,
    parameter PROJECT_TOGETHER = 1,
    parameter GATE = 9,
    parameter DATA = 4624,
    parameter TAP = $clog2(TAPS + 1),
    parameter BANK = $clog2(BANKS),
    parameter COLUMN = $clog2(COLUMNS),
    parameter LANE = $clog2(LANES + 2),
    parameter PROJECT = WORDS * (16 + OUTPUT + 1),
    parameter FACTORS = 24 + 16 + PROJECT
) (
    input clk,
    input rst,
    input write,
    input [4:0] write_region,
    input [15:0] write_at,
    /* verilator lint_off UNUSED */
    input [DATA-1:0] write_data,  // planes are wider
    /* verilator lint_on UNUSED */
    input half,  // of the two groups, the one at work
    input [1:0] halves,
    input [(TAPS+1)*BANK-1:0] turns,  // by which the banks of its gate words are turned, tap by tap
    input predict_half,  // likewise of the group that is predicted
    input [1:0] predict_halves,
    input [$clog2(CODES)-1:0] code_first,
    input rewind,  // the first pass begins with the next cycle
    input loading,
    input first,
    input [1:0] kind,
    input advance,  // with the next cycle a pass begins, the one described here
    input goes_on,
    input [1:0] next_kind,
    input [TAP-1:0] tap,
    input [COLUMN-1:0] column,
    output done,  // all of them
    output [BANKS-1:0] issue,
    output [BANKS*LANE-1:0] to_lane,
    output [BANKS*FACTORS-1:0] factors,
    output [BANKS*GATE-1:0] gate_at,
    output [BANKS*BANK-1:0] gate_bank,
    output [BANKS*(TAPS+1)*SLOTS-1:0] maps,
    output [BANKS*(TAPS+1)*GATE-1:0] gate_bases
);
  // A word of a bank: as many bits of the port as its region has.
  localparam COLUMN_RECORD = SLOTS + $clog2(COLUMN_WORDS), SLOT_RECORD = $clog2(PROJECT_ROWS) + 52;
  localparam CODE_WORD = CODE_TOGETHER * LANE, MAP_WORD = MAP_TOGETHER * SLOTS;
  localparam COLUMN_WORD = COLUMN_TOGETHER * COLUMN_RECORD, SLOT_WORD = SLOT_TOGETHER * SLOT_RECORD;
  localparam BASES_WORD = BASES_TOGETHER * (GATE + $clog2(TAP_WORDS)), PROJECT_WORD = PROJECT_TOGETHER * PROJECT;
  localparam DEPTHWISE_WORD = DEPTHWISE_TOGETHER * 16, EXPAND_WORD = EXPAND_TOGETHER * 16;
  localparam ONE_WORD = COLUMN_RECORD > PROJECT ? COLUMN_RECORD : PROJECT, ALONE = SLOT_RECORD > ONE_WORD ? SLOT_RECORD : ONE_WORD;
  localparam BANK_WORD = 16 * LINE / BANKS > ALONE ? 16 * LINE / BANKS : ALONE;
  wire [BANKS-1:0] bank_done;
  assign done = &bank_done;
  genvar b;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_bank
      reg [BANK_WORD-1:0] word;
      always @*
        case (write_region)
          5'd3: word = BANK_WORD'(write_data[CODE_WORD*b+:CODE_WORD]);
          5'd4: word = BANK_WORD'(write_data[MAP_WORD*b+:MAP_WORD]);
          5'd5: word = BANK_WORD'(write_data[COLUMN_WORD*b+:COLUMN_WORD]);
          5'd6: word = BANK_WORD'(write_data[SLOT_WORD*b+:SLOT_WORD]);
          5'd7: word = BANK_WORD'(write_data[BASES_WORD*b+:BASES_WORD]);
          5'd10: word = BANK_WORD'(write_data[EXPAND_WORD*b+:EXPAND_WORD]);
          5'd12: word = BANK_WORD'(write_data[PROJECT_WORD*b+:PROJECT_WORD]);
          default: word = BANK_WORD'(write_data[DEPTHWISE_WORD*b+:DEPTHWISE_WORD]);
        endcase
      wire [TAP-1:0] member_tap;
      wire [BANK-1:0] turn = turns[BANK*member_tap+:BANK];
      wire [BANK:0] turned = (BANK + 1)'(b) + (BANK + 1)'(turn);
      /* verilator lint_off UNUSED */
      wire [BANK:0] wrapped = turned - (BANK + 1)'(BANKS);
      /* verilator lint_on UNUSED */
      assign gate_bank[BANK*b+:BANK] = turned >= (BANK + 1)'(BANKS) ? wrapped[BANK-1:0] : turned[BANK-1:0];
      bank #(
          .LANES(LANES), .WORDS(WORDS), .OUTPUT(OUTPUT), .SLOTS(SLOTS), .TAPS(TAPS), .COLUMNS(COLUMNS),
          .TAP_WORDS(TAP_WORDS), .COLUMN_WORDS(COLUMN_WORDS), .PROJECT_ROWS(PROJECT_ROWS), .CODES(CODES),
          .CODE_TOGETHER(CODE_TOGETHER), .MAP_TOGETHER(MAP_TOGETHER), .COLUMN_TOGETHER(COLUMN_TOGETHER),
          .SLOT_TOGETHER(SLOT_TOGETHER), .BASES_TOGETHER(BASES_TOGETHER), .DEPTHWISE_TOGETHER(DEPTHWISE_TOGETHER),
          .EXPAND_TOGETHER(EXPAND_TOGETHER), .PROJECT_TOGETHER(PROJECT_TOGETHER), .GATE_ADDRESS(GATE), .DATA(BANK_WORD)
      ) u (
          .clk(clk),
          .rst(rst),
          .write(write),
          .write_region(write_region),
          .write_at(write_at),
          .write_data(word),
          .half(half),
          .halves(halves),
          .predict_half(predict_half),
          .predict_halves(predict_halves),
          .code_first(code_first),
          .rewind(rewind),
          .loading(loading),
          .first(first),
          .kind(kind),
          .advance(advance),
          .goes_on(goes_on),
          .next_kind(next_kind),
          .tap(tap),
          .column(column),
          .done(bank_done[b]),
          .issue(issue[b]),
          .lane(to_lane[LANE*b+:LANE]),
          .member_tap(member_tap),
          .gate_at(gate_at[GATE*b+:GATE]),
          .factor(factors[FACTORS*b+:24]),
          .depthwise(factors[FACTORS*b+24+:16]),
          .project(factors[FACTORS*b+40+:PROJECT]),
          .maps_out(maps[b*(TAPS+1)*SLOTS+:(TAPS+1)*SLOTS]),
          .gate_bases_out(gate_bases[b*(TAPS+1)*GATE+:(TAPS+1)*GATE])
      );
    end
  endgenerate
endmodule
