// The fused-block core of Archon: predictor, gate memory, lanes, fused-weight generators, PEs, finishing. One write port
// fills all its memories, those of all banks beside the lanes at once; three pulses start parts of an item.
module archon #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter LANES = 11,
    parameter LANE_ROWS = 7,
    parameter WORDS = 4,
    parameter LISTS = 2,
    parameter OUTPUTS = 32,
    parameter BANKS = 12,
    parameter SLOTS = 64,
    parameter KERNEL = 3,
    parameter SIDE = 10,
    parameter UNIT_ROWS = 10,
    parameter INPUTS = 16,
    parameter HELD = 32,
    parameter COLUMNS = 32,
    parameter WRITES = 7,
    parameter QUEUE = 8,
    parameter CHANNELS = 768,
    parameter PARTS = 16,
    parameter PASSES = 1024,
    parameter CODES = 2048,
    parameter LINE = 32,  // pixels of an access of the global buffer
    parameter GATE_WORDS = 284,
    parameter TAP_WORDS = 128,
    parameter COLUMN_WORDS = 256,
    parameter PROJECT_ROWS = 78,
    parameter ACCUMULATOR = 40,
    parameter SUM = 24,
    parameter FINISHED_ROWS = 1,  // of a tile, in a cycle
    parameter TOGETHER = 16,  // most records of a word of the write port
    parameter DATA = 4624,
    parameter ITEM = 36
) (
    input clk,
    input rst,
    input write,
    input [4:0] write_region,
    input [15:0] write_at,
    input [FINISHED_ROWS-1:0] write_rows,
    input [DATA-1:0] write_data,
    input [ITEM-1:0] item,
    input start_main,
    input start_predict,
    input behind,
    input start_finish,
    input several,  // rows leave at once
    output main_busy,
    output predict_busy,
    output finish_busy,
    output swap,
    output out_valid,
    output [15:0] out_channel,
    output [7:0] out_row,
    output [FINISHED_ROWS-1:0] out_present,
    output [16*TILE_COLUMNS*FINISHED_ROWS-1:0] out_data
);
  localparam PIXELS = TILE_ROWS * TILE_COLUMNS;
  localparam TAPS = KERNEL * KERNEL;
  localparam TAP = $clog2(TAPS + 1);
  localparam OUTPUT = $clog2(OUTPUTS);
  localparam BANK = $clog2(BANKS);
  localparam COLUMN = $clog2(COLUMNS);
  localparam PASS = $clog2(PASSES);
  localparam CHANNEL = $clog2(CHANNELS);
  localparam GATE = $clog2(GATE_WORDS);
  localparam LANE = $clog2(LANES + 2);
  localparam PROJECT = WORDS * (16 + OUTPUT + 1);
  localparam FACTORS = 24 + 16 + PROJECT;
  localparam ROW = PIXELS + FACTORS;
  localparam WORD = $clog2(OUTPUTS / LISTS);
  localparam ROWS = $clog2(TILE_ROWS + 1);
  localparam ROUND = $clog2(HELD / INPUTS + 1);
  localparam UNIT = $clog2(HELD);
  localparam PART = $clog2(PARTS);

  // As many records come in one write as a line of the buffer holds, at most TOGETHER, a power of two of which the memory
  // is whole words.
  function automatic integer together(input integer bits, input integer size);
    together = TOGETHER;
    while (together > 1 && (together * bits > 16 * LINE || size % together != 0 || size < 2 * together))
      together = together / 2;
  endfunction

  // Records of two groups and of the item.
  localparam CODE = $clog2(CODES);
  typedef struct packed {
    logic [(TAPS+1)*BANK-1:0] turns;
    logic [1:0] halves;  // of the slots
    logic [CODE-1:0] code_first;
    logic [CHANNEL:0] channel_end;
    logic [CHANNEL-1:0] channel_first;
    logic [PASS:0] pass_end;
    logic [PASS-1:0] pass_first;
    logic [OUTPUT:0] output_end;
    logic [OUTPUT-1:0] output_first;
    logic [UNIT:0] channels;
    logic [ROUND-1:0] rounds;
    logic [5:0] residual_shift;
    logic residual;
    logic [5:0] input_shift;
    logic [3:0] input_max, input_min, hidden_max;
    logic depthwise_gated, expand_gated, stride_2;
  } group_record;
  group_record group_0, group_1;
  always @(posedge clk)
    if (write && write_region == 5'd0) begin
      if (write_at[0]) group_1 <= write_data[$bits(group_0)-1:0];
      else group_0 <= write_data[$bits(group_0)-1:0];
    end
  wire [GATE-1:0] read_offset, write_offset;
  wire [ROWS-1:0] rows;
  wire [PART-1:0] part_first;
  wire [PART:0] part_end;
  wire planes;  // which of the two sets of input planes
  wire half, predict_half;  // which of the two groups, of the lists and of the prediction
  wire set;  // which of the two sets of sums
  assign {set, predict_half, half, planes, part_end, part_first, rows, write_offset, read_offset} = item;
  /* verilator lint_off UNUSED */
  group_record own, ahead;  // each is used in part
  /* verilator lint_on UNUSED */
  assign own = half ? group_1 : group_0;
  assign ahead = predict_half ? group_1 : group_0;

  // Passes are loaded.
  localparam PASS_RECORD = 3 + TAP + COLUMN;
  wire loading, first, ready, loader_busy, lists_busy, ending;
  wire [1:0] kind, next_kind;
  wire advance, next_goes_on;
  /* verilator lint_off UNUSED */
  wire goes_on;
  /* verilator lint_on UNUSED */
  wire [TAP-1:0] tap, next_tap;
  wire [COLUMN-1:0] column, next_column;
  wire banks_done;
  wire [BANKS-1:0] issue;
  localparam PASS_TOGETHER = together(PASS_RECORD, PASSES);
  loader #(PASSES, PASS_RECORD, PASS_TOGETHER) u_loader (
      .clk(clk),
      .rst(rst),
      .write(write && write_region == 5'd2),
      .write_at(write_at[$clog2(PASSES/PASS_TOGETHER)-1:0]),
      .write_data(write_data[PASS_TOGETHER*PASS_RECORD-1:0]),
      .start(start_main),
      .pass_first(own.pass_first),
      .pass_end(own.pass_end),
      .banks_done(banks_done),
      .swap(swap),
      .loading(loading),
      .first(first),
      .ready(ready),
      .pass_record({column, tap, goes_on, kind}),
      .coming({next_column, next_tap, next_goes_on, next_kind}),
      .advance(advance),
      .busy(loader_busy)
  );
  assign main_busy = loader_busy | lists_busy;
  reg [PASS:0] passes_done;
  always @(posedge clk)
    if (rst | start_main) passes_done <= 0;
    else if (ending) passes_done <= passes_done + 1;

  wire [BANKS*LANE-1:0] to_lane;
  wire [BANKS*FACTORS-1:0] factors;
  wire [BANKS*GATE-1:0] gate_at;
  wire [BANKS*BANK-1:0] gate_bank;
  wire [BANKS*(TAPS+1)*SLOTS-1:0] maps;
  wire [BANKS*(TAPS+1)*GATE-1:0] gate_bases;
  localparam TAP_MAPS = 1 << $clog2(TAPS + 2);
  banks #(
      .BANKS(BANKS), .LANES(LANES), .WORDS(WORDS), .OUTPUT(OUTPUT), .SLOTS(SLOTS), .TAPS(TAPS), .COLUMNS(COLUMNS),
      .TAP_WORDS(TAP_WORDS), .COLUMN_WORDS(COLUMN_WORDS), .PROJECT_ROWS(PROJECT_ROWS), .CODES(CODES), .LINE(LINE),
      .CODE_TOGETHER(together(BANKS * LANE, CODES)), .MAP_TOGETHER(together(BANKS * SLOTS, TAP_MAPS)),
      .COLUMN_TOGETHER(together(BANKS * (SLOTS + $clog2(COLUMN_WORDS)), COLUMNS)),
      .SLOT_TOGETHER(together(BANKS * ($clog2(PROJECT_ROWS) + 52), SLOTS / 2)),
      .BASES_TOGETHER(together(BANKS * (GATE + $clog2(TAP_WORDS)), TAP_MAPS)),
      .DEPTHWISE_TOGETHER(together(BANKS * 16, TAP_WORDS)), .EXPAND_TOGETHER(together(BANKS * 16, COLUMN_WORDS)),
      .PROJECT_TOGETHER(together(BANKS * PROJECT, PROJECT_ROWS)), .GATE(GATE), .DATA(DATA)
  ) u_banks (
      .clk(clk),
      .rst(rst),
      .write(write),
      .write_region(write_region),
      .write_at(write_at),
      .write_data(write_data),
      .half(half),
      .halves(own.halves),
      .turns(own.turns),
      .predict_half(predict_half),
      .predict_halves(ahead.halves),
      .code_first(own.code_first),
      .rewind(start_main),
      .loading(loading),
      .first(first),
      .kind(kind),
      .advance(advance),
      .goes_on(next_goes_on),
      .next_kind(next_kind),
      .tap(next_tap),
      .column(next_column),
      .done(banks_done),
      .issue(issue),
      .to_lane(to_lane),
      .factors(factors),
      .gate_at(gate_at),
      .gate_bank(gate_bank),
      .maps(maps),
      .gate_bases(gate_bases)
  );

  wire [BANKS-1:0] gate_reads, gate_writes;
  wire [BANKS*GATE-1:0] gate_write_at;
  wire [BANKS*PIXELS-1:0] gate_read_words, gate_words;
  wire [PIXELS-1:0] gate_mask;
  gate_memory #(PIXELS, BANKS, GATE_WORDS) u_gates (
      .clk(clk),
      .issue(issue),
      .wanted_bank(gate_bank),
      .wanted_at(gate_at),
      .read_offset(read_offset),
      .reads(gate_reads),
      .read_words(gate_read_words),
      .writes(gate_writes),
      .write_at(gate_write_at),
      .write_offset(write_offset),
      .write_words(gate_words),
      .mask(gate_mask)
  );
  // Scores go as far as the range of their sums, of values of 4 bits times 4 at most.
  localparam SCORE = 1 + $clog2(60 * COLUMNS + 1), SCORE2 = 1 + $clog2(60 * TAPS + 1);
  localparam OF_CHANNEL = 3 * HELD + SCORE + $clog2(SCORE) + SCORE2 + 4 * TAPS + 1 + BANK + $clog2(SLOTS) + PASS + 1;
  predictor #(
          .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .KERNEL(KERNEL), .SIDE(SIDE), .UNIT_ROWS(UNIT_ROWS), .INPUTS(INPUTS),
          .HELD(HELD), .WRITES(WRITES), .QUEUE(QUEUE), .BANKS(BANKS), .SLOTS(SLOTS), .CHANNELS(CHANNELS),
          .TOGETHER(together(OF_CHANNEL, CHANNELS)), .PARTS(PARTS), .PASSES(PASSES), .GATE_ADDRESS(GATE), .DATA(DATA),
          .SCORE(SCORE), .SCORE2(SCORE2)
  ) u_predictor (
      .clk(clk),
      .rst(rst),
      .write(write),
      .write_region(write_region),
      .write_at(write_at),
      .write_data(write_data),
      .stride_2(ahead.stride_2),
      .expand_gated(ahead.expand_gated),
      .depthwise_gated(ahead.depthwise_gated),
      .hidden_max(ahead.hidden_max),
      .input_min(ahead.input_min),
      .input_max(ahead.input_max),
      .input_shift(ahead.input_shift),
      .rounds(ahead.rounds),
      .channels(ahead.channels),
      .channel_first(ahead.channel_first),
      .channel_end(ahead.channel_end),
      .turns(ahead.turns),
      .maps(maps),
      .gate_bases(gate_bases),
      .start(start_predict),
      .part_first(part_first),
      .part_end(part_end),
      .behind(behind),
      .passes_done(passes_done),
      .gate_reads(gate_reads),
      .gate_writes(gate_writes),
      .gate_write_at(gate_write_at),
      .gate_words(gate_words),
      .gate_mask(gate_mask),
      .busy(predict_busy)
  );

  wire [LANES-1:0] lane_load;
  wire [LANES*ROW-1:0] lane_rows;
  wire [OUTPUTS-1:0] present;
  crossbar #(PIXELS, LANES, WORDS, OUTPUTS, BANKS) u_crossbar (
      .clk(clk),
      .fresh(loading & first),
      .issue(issue),
      .to_lane(to_lane),
      .gate_bank(gate_bank),
      .factors(factors),
      .gate_words(gate_read_words),
      .load(lane_load),
      .rows(lane_rows),
      .present(present)
  );

  localparam SHIFTS = 26, FINISHING = ACCUMULATOR + 6 + 16, RULE = SHIFTS + FINISHING;
  localparam RULE_TOGETHER = together(RULE, OUTPUTS / LISTS), RULES = $clog2(OUTPUTS / RULE_TOGETHER);
  wire [WORD-1:0] read_word;
  wire [LISTS-1:0] read_begun;
  wire [LISTS*PIXELS*ACCUMULATOR-1:0] sums;
  lists #(
      .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .KERNEL(KERNEL), .LANES(LANES), .LANE_ROWS(LANE_ROWS), .WORDS(WORDS),
      .LISTS(LISTS), .OUTPUTS(OUTPUTS), .COLUMNS(COLUMNS), .ACCUMULATOR(ACCUMULATOR), .SUM(SUM), .SHIFTS(SHIFTS), .RULE(RULE),
      .RULE_TOGETHER(RULE_TOGETHER), .DATA(DATA)
  ) u_lists (
      .clk(clk),
      .rst(rst),
      .write(write),
      .write_region(write_region),
      .write_at(write_at),
      .write_data(write_data),
      .clear(start_main),
      .set(set),
      .leave(start_finish),
      .planes(planes),
      .stride_2(own.stride_2),
      .kind(kind),
      .tap(tap),
      .column(column),
      .load(lane_load),
      .rows(lane_rows),
      .present(present),
      .ready(ready),
      .busy(lists_busy),
      .ending(ending),
      .swap(swap),
      .read_word(read_word),
      .read_begun(read_begun),
      .sums(sums)
  );

  // Rules of the outputs that leave.
  reg [RULE_TOGETHER*FINISHING-1:0] rules;
  integer o;
  always @* for (o = 0; o < RULE_TOGETHER; o = o + 1) rules[FINISHING*o+:FINISHING] = write_data[RULE*o+SHIFTS+:FINISHING];
  wire [OUTPUT-1:0] finish_output;
  wire [RULE_TOGETHER*FINISHING-1:0] finish_rules;
  memory #(RULE_TOGETHER * FINISHING, OUTPUTS / RULE_TOGETHER) u_finishing (
      .clk(clk),
      .write(write && write_region == 5'd1),
      .write_at(write_at[RULES-1:0]),
      .write_data(rules),
      .read_at(RULES'(32'(finish_output) / RULE_TOGETHER)),
      .read_data(finish_rules)
  );
  localparam RESIDUAL = $clog2(OUTPUTS * TILE_ROWS);
  output_rows #(
          .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .OUTPUTS(OUTPUTS), .LISTS(LISTS),
          .ACCUMULATOR(ACCUMULATOR), .FINISHED_ROWS(FINISHED_ROWS)
  ) u_rows (
      .clk(clk),
      .rst(rst),
      .write_residual(write && write_region == 5'd17),
      .write_at(write_at[RESIDUAL-1:0]),
      .write_rows(write_rows),
      .write_data(write_data[16*TILE_COLUMNS*FINISHED_ROWS-1:0]),
      .begins(start_main),
      .set(set),
      .start(start_finish),
      .several(several),
      .output_first(own.output_first),
      .output_end(own.output_end),
      .rows(rows),
      .residual(own.residual),
      .residual_shift(own.residual_shift),
      .at(finish_output),
      .rule(finish_rules[FINISHING*(32'(finish_output)%RULE_TOGETHER)+:FINISHING]),
      .read_word(read_word),
      .begun(read_begun),
      .sums(sums),
      .busy(finish_busy),
      .valid(out_valid),
      .channel(out_channel),
      .row(out_row),
      .present(out_present),
      .data(out_data)
  );
endmodule
