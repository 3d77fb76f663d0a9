// One bank beside the lanes: maps of its channels, their factors and project rows, and the codes that say when each
// member of a pass goes to which lane. Two groups have their places in it, one at work and one that is filled or
// predicted.
module bank #(
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
    // Records of a word of the write port.
    parameter CODE_TOGETHER = 8,
    parameter MAP_TOGETHER = 1,
    parameter COLUMN_TOGETHER = 1,
    parameter SLOT_TOGETHER = 1,
    parameter BASES_TOGETHER = 2,
    parameter DEPTHWISE_TOGETHER = 2,
    parameter EXPAND_TOGETHER = 2,
    parameter PROJECT_TOGETHER = 1,
    parameter GATE_ADDRESS = 9,
    parameter DATA = 128,
    parameter TAP = $clog2(TAPS + 1),
    parameter SLOT = $clog2(SLOTS),
    parameter COLUMN = $clog2(COLUMNS),
    parameter LANE = $clog2(LANES + 2),
    parameter ROW = 4,
    parameter PROJECT = WORDS * (16 + OUTPUT + 1)
) (
    input clk,
    input rst,
    input write,
    input [4:0] write_region,
    input [15:0] write_at,
    /* verilator lint_off UNUSED */
    input [DATA-1:0] write_data,
    /* verilator lint_on UNUSED */
    input half,  // of the two groups, the one at work
    input [1:0] halves,  // of the slots: those it has
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
    output done,
    output issue,
    output [LANE-1:0] lane,
    output [TAP-1:0] member_tap,
    output [GATE_ADDRESS-1:0] gate_at,
    output [23:0] factor,
    output [15:0] depthwise,
    output [PROJECT-1:0] project,
    // The predictor writes by the same maps.
    output [(TAPS+1)*SLOTS-1:0] maps_out,
    output [(TAPS+1)*GATE_ADDRESS-1:0] gate_bases_out
);
  localparam WEIGHT = 2'd0, EXPAND_BIAS = 2'd1, DEPTHWISE_BIAS = 2'd2;
  localparam CODE_AT = $clog2(CODES);
  localparam TAP_AT = $clog2(TAP_WORDS), COLUMN_AT = $clog2(COLUMN_WORDS), PROJECT_AT = $clog2(PROJECT_ROWS);
  localparam LANE_END = LANES + 1;  // LANES stands for a cycle of waiting
  localparam MAP = $clog2(TAPS + 2), MAP_AT = MAP - $clog2(MAP_TOGETHER), LOW = SLOTS / 2;
  localparam BASES = GATE_ADDRESS + TAP_AT, BASES_AT = MAP - $clog2(BASES_TOGETHER);
  localparam SET = TAPS + 1, BASE = $clog2(2 * SET);  // bases of a group
  localparam SLOT_DATA = PROJECT_AT + 48, SLOT_RECORD = SLOT_DATA + ROW;
  localparam CODE_WORD = $clog2(CODES / CODE_TOGETHER);
  wire [SLOTS-1:0] mine = {{SLOTS - LOW{halves[1]}}, {LOW{halves[0]}}};
  wire [SLOTS-1:0] predicted = {{SLOTS - LOW{predict_halves[1]}}, {LOW{predict_halves[0]}}};
  (* ram_style = "registers" *)  // all are looked at in every cycle
  reg [SLOTS-1:0] maps[0:TAPS+1];  // taps; depthwise biases; expand biases
  (* ram_style = "registers" *)
  reg [GATE_ADDRESS-1:0] gate_bases[0:2*SET-1];
  reg [TAP_AT-1:0] tap_bases[0:2*SET-2];
  reg [SLOTS*ROW-1:0] slot_rows;
  integer n;
  always @(posedge clk)
    if (write)
      case (write_region)
        5'd4:
        for (n = 0; n < TAPS + 2; n = n + 1)
          if (write_at[MAP_AT-1:0] == MAP_AT'(n / MAP_TOGETHER)) begin  // the half of another group stays
            if (write_at[MAP_AT]) maps[n][LOW-1:0] <= write_data[SLOTS*(n%MAP_TOGETHER)+:LOW];
            if (write_at[MAP_AT+1]) maps[n][SLOTS-1:LOW] <= write_data[SLOTS*(n%MAP_TOGETHER)+LOW+:SLOTS-LOW];
          end
        5'd6:
        for (n = 0; n < SLOTS; n = n + 1)
          if (write_at[SLOT-1:0] == SLOT'(n / SLOT_TOGETHER))
            slot_rows[ROW*n+:ROW] <= write_data[SLOT_RECORD*(n%SLOT_TOGETHER)+SLOT_DATA+:ROW];
        5'd7:
        for (n = 0; n < 2 * SET; n = n + 1)
          if (write_at[BASES_AT:0] == (BASES_AT + 1)'((n / SET << BASES_AT) + n % SET / BASES_TOGETHER)) begin
            gate_bases[n] <= write_data[BASES*(n%SET%BASES_TOGETHER)+:GATE_ADDRESS];
            if (n % SET < TAPS) tap_bases[n] <= write_data[BASES*(n%SET%BASES_TOGETHER)+GATE_ADDRESS+:TAP_AT];
          end
        default: ;
      endcase
  wire [TAPS*SLOTS-1:0] tap_maps;
  genvar k;
  generate
    for (k = 0; k < TAPS; k = k + 1) begin : g_tap
      assign tap_maps[k*SLOTS+:SLOTS] = maps[k];
    end
    for (k = 0; k <= TAPS; k = k + 1) begin : g_out
      assign maps_out[k*SLOTS+:SLOTS] = maps[k] & predicted;
      assign gate_bases_out[k*GATE_ADDRESS+:GATE_ADDRESS] = predict_half ? gate_bases[SET+k] : gate_bases[k];
    end
  endgenerate

  // Which member is next. The pass begins with the next cycle: its column is at hand while it is loaded.
  wire renew = advance & ~goes_on;
  wire [SLOTS-1:0] next_map;
  wire [COLUMN_AT-1:0] next_base;
  reg [SLOTS-1:0] column_map;
  reg [COLUMN_AT-1:0] column_base;
  always @(posedge clk) if (renew) {column_base, column_map} <= {next_base, next_map};
  wide_memory #(COLUMN_AT + SLOTS, COLUMNS, COLUMN_TOGETHER) u_columns (
      .clk(clk),
      .write(write && write_region == 5'd5),
      .write_at(write_at[$clog2(COLUMNS/COLUMN_TOGETHER)-1:0]),
      .write_data(write_data[COLUMN_TOGETHER*(COLUMN_AT+SLOTS)-1:0]),
      .read_at(column),
      .read_data({next_base, next_map})
  );
  wire [SLOTS-1:0] map = mine & (next_kind == WEIGHT ? maps[MAP'(tap)] & next_map :
                                 next_kind == EXPAND_BIAS ? maps[TAPS+1] : maps[TAPS]);
  wire any, last;
  wire [SLOT-1:0] slot;
  wire [SLOTS-1:0] below;
  wire [ROW-1:0] row;
  member_search #(
      .SLOTS(SLOTS),
      .TAPS(TAPS),
      .ROW(ROW)
  ) u_search (
      .clk(clk),
      .rst(rst),
      .renew(renew),
      .step(issue),
      .every_tap(next_kind == EXPAND_BIAS),
      .tap(next_kind == DEPTHWISE_BIAS ? TAP'(TAPS) : tap),
      .map(map),
      .tap_maps(tap_maps),
      .slot_rows(slot_rows),
      .any(any),
      .last(last),
      .slot(slot),
      .below(below),
      .member_tap(member_tap),
      .row(row)
  );

  // Whether it goes now: one code a cycle, and an end code together with the code before it. Both are read a cycle ahead.
  reg [CODE_TOGETHER*LANE-1:0] codes[0:CODES/CODE_TOGETHER-1];
  reg [LANE-1:0] code, code_after;
  reg [CODE_AT-1:0] at;
  reg ended;
  wire part_ends = code_after == LANE'(LANE_END);
  wire waits = loading & (first | ~ended) & any;
  assign lane = code;
  assign issue = waits & (code < LANE'(LANES));
  wire skips = issue & ~last & part_ends;
  assign done = ~any | (~first & ended) | (code == LANE'(LANE_END)) | (issue & (last | part_ends));
  wire [CODE_AT-1:0] at_after = at_next + 1'b1;
  wire [CODE_AT-1:0] at_next = rewind ? code_first : at + CODE_AT'(waits) + CODE_AT'(skips);
  always @(posedge clk) begin
    if (write && write_region == 5'd3) codes[write_at[CODE_WORD-1:0]] <= write_data[CODE_TOGETHER*LANE-1:0];
    code <= LANE'(codes[CODE_WORD'(32'(at_next)/CODE_TOGETHER)] >> LANE * (32'(at_next) % CODE_TOGETHER));
    code_after <= LANE'(codes[CODE_WORD'(32'(at_after)/CODE_TOGETHER)] >> LANE * (32'(at_after) % CODE_TOGETHER));
    at <= at_next;
    ended <= loading & done;
  end

  // Its words. Those of a tap, and of a column, lie in the order of the slots.
  wire [SLOTS-1:0] tap_below = maps[MAP'(member_tap)] & mine & below;
  wire [SLOTS-1:0] column_below = column_map & below;
  wire [SLOT-1:0] tap_rank = SLOT'($countones(tap_below));
  /* verilator lint_off UNUSED */  // a bank may have fewer expand weights than channels
  wire [SLOT-1:0] column_rank = SLOT'($countones(column_below));
  /* verilator lint_on UNUSED */
  wire [15:0] expand;
  wire [23:0] expand_bias, depthwise_bias;
  wire [BASE-1:0] base = half ? BASE'(SET) + BASE'(member_tap) : BASE'(member_tap);
  assign gate_at = gate_bases[base] + GATE_ADDRESS'(tap_rank);
  assign factor = kind == WEIGHT ? 24'($signed(expand)) : kind == EXPAND_BIAS ? expand_bias : depthwise_bias;
  wide_memory #(16, TAP_WORDS, DEPTHWISE_TOGETHER) u_taps (
      .clk(clk),
      .write(write && write_region == 5'd9),
      .write_at(write_at[$clog2(TAP_WORDS/DEPTHWISE_TOGETHER)-1:0]),
      .write_data(write_data[16*DEPTHWISE_TOGETHER-1:0]),
      .read_at(tap_bases[member_tap==TAP'(TAPS)?0 : base] + TAP_AT'(tap_rank)),
      .read_data(depthwise)
  );
  wide_memory #(16, COLUMN_WORDS, EXPAND_TOGETHER) u_expand (
      .clk(clk),
      .write(write && write_region == 5'd10),
      .write_at(write_at[$clog2(COLUMN_WORDS/EXPAND_TOGETHER)-1:0]),
      .write_data(write_data[16*EXPAND_TOGETHER-1:0]),
      .read_at(column_base + COLUMN_AT'(column_rank)),
      .read_data(expand)
  );
  wire [PROJECT_AT-1:0] slot_base;
  wire [SLOT_TOGETHER*SLOT_DATA-1:0] slot_data;
  generate
    for (k = 0; k < SLOT_TOGETHER; k = k + 1) begin : g_slot
      assign slot_data[SLOT_DATA*k+:SLOT_DATA] = write_data[SLOT_RECORD*k+:SLOT_DATA];
    end
  endgenerate
  wide_memory #(SLOT_DATA, SLOTS, SLOT_TOGETHER) u_slots (
      .clk(clk),
      .write(write && write_region == 5'd6),
      .write_at(write_at[$clog2(SLOTS/SLOT_TOGETHER)-1:0]),
      .write_data(slot_data),
      .read_at(slot),
      .read_data({depthwise_bias, expand_bias, slot_base})
  );
  wide_memory #(PROJECT, PROJECT_ROWS, PROJECT_TOGETHER) u_project (
      .clk(clk),
      .write(write && write_region == 5'd12),
      .write_at(write_at[$clog2(PROJECT_ROWS/PROJECT_TOGETHER)-1:0]),
      .write_data(write_data[PROJECT_TOGETHER*PROJECT-1:0]),
      .read_at(slot_base + PROJECT_AT'(row)),
      .read_data(project)
  );
endmodule
