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
    parameter SCORE = 16,
    parameter DATA = 4624,
    parameter ITEM = 36
) (
    input clk,
    input rst,
    input write,
    input [4:0] write_region,
    input [15:0] write_at,
    input [DATA-1:0] write_data,
    input [ITEM-1:0] item,
    input start_main,
    input start_predict,
    input behind,
    input start_finish,
    output main_busy,
    output predict_busy,
    output finish_busy,
    output swap,
    output out_valid,
    output [15:0] out_channel,
    output [7:0] out_row,
    output [16*TILE_COLUMNS-1:0] out_data
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

  // As many records come in one write as a line of the buffer holds, a power of two of which the memory is whole words.
  function automatic integer together(input integer bits, input integer size);
    together = 16;
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
  wire [BANKS-1:0] bank_done, issue;
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
      .banks_done(&bank_done),
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
  // A word of every bank: as many bits of the port as its region has.
  localparam COLUMN_RECORD = SLOTS + $clog2(COLUMN_WORDS), SLOT_RECORD = $clog2(PROJECT_ROWS) + 52;
  localparam BASES_RECORD = GATE + $clog2(TAP_WORDS), TAP_MAPS = 1 << $clog2(TAPS + 2);
  localparam CODE_TOGETHER = together(BANKS * LANE, CODES), CODE_WORD = CODE_TOGETHER * LANE;
  localparam MAP_TOGETHER = together(BANKS * SLOTS, TAP_MAPS), MAP_WORD = MAP_TOGETHER * SLOTS;
  localparam COLUMN_TOGETHER = together(BANKS * COLUMN_RECORD, COLUMNS), COLUMN_WORD = COLUMN_TOGETHER * COLUMN_RECORD;
  localparam SLOT_TOGETHER = together(BANKS * SLOT_RECORD, SLOTS / 2), SLOT_WORD = SLOT_TOGETHER * SLOT_RECORD;
  localparam BASES_TOGETHER = together(BANKS * BASES_RECORD, TAP_MAPS), BASES_WORD = BASES_TOGETHER * BASES_RECORD;
  localparam DEPTHWISE_TOGETHER = together(BANKS * 16, TAP_WORDS), DEPTHWISE_WORD = DEPTHWISE_TOGETHER * 16;
  localparam EXPAND_TOGETHER = together(BANKS * 16, COLUMN_WORDS), EXPAND_WORD = EXPAND_TOGETHER * 16;
  localparam PROJECT_TOGETHER = together(BANKS * PROJECT, PROJECT_ROWS), PROJECT_WORD = PROJECT_TOGETHER * PROJECT;
  localparam ONE_WORD = COLUMN_RECORD > PROJECT ? COLUMN_RECORD : PROJECT, ALONE = SLOT_RECORD > ONE_WORD ? SLOT_RECORD : ONE_WORD;
  localparam BANK_WORD = 16 * LINE / BANKS > ALONE ? 16 * LINE / BANKS : ALONE;
  genvar b, l, t;
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
      wire [BANK-1:0] turn = own.turns[BANK*member_tap+:BANK];
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
          .halves(own.halves),
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
  localparam CHANNEL_RECORD = 3 * HELD + 2 * SCORE + 5 + 4 * TAPS + 1 + BANK + $clog2(SLOTS) + PASS + 1;
  predictor #(
          .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .KERNEL(KERNEL), .SIDE(SIDE), .UNIT_ROWS(UNIT_ROWS), .INPUTS(INPUTS),
          .HELD(HELD), .WRITES(WRITES), .QUEUE(QUEUE), .BANKS(BANKS), .SLOTS(SLOTS), .CHANNELS(CHANNELS),
          .TOGETHER(together(CHANNEL_RECORD, CHANNELS)), .PARTS(PARTS), .PASSES(PASSES), .GATE_ADDRESS(GATE), .DATA(DATA),
          .SCORE(SCORE)
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

  // Lists are sent.
  wire [LISTS*OUTPUT-1:0] wanted;
  wire [LISTS-1:0] wanted_valid, list_first, list_last;
  wire [LANES*LISTS-1:0] lane_more;
  reg [LISTS-1:0] more;
  integer n;
  always @* begin
    more = 0;
    for (n = 0; n < LANES; n = n + 1) more = more | lane_more[LISTS*n+:LISTS];
  end
  sequencer #(OUTPUTS, LISTS) u_sequencer (
      .clk(clk),
      .rst(rst),
      .ready(ready),
      .present(present),
      .more(more),
      .wanted(wanted),
      .wanted_valid(wanted_valid),
      .first(list_first),
      .last(list_last),
      .busy(lists_busy),
      .ending(ending),
      .swap(swap)
  );
  wire [LISTS*LANES*PIXELS-1:0] gates1;
  wire [LISTS*LANES*24-1:0] factors1;
  wire [LISTS*LANES*16-1:0] depthwise1, project1;
  generate
    for (l = 0; l < LANES; l = l + 1) begin : g_lane
      wire [LISTS*PIXELS-1:0] lane_gates;
      wire [LISTS*24-1:0] lane_factors;
      wire [LISTS*16-1:0] lane_depthwise, lane_project;
      lane #(
          .PIXELS(PIXELS), .ROWS(LANE_ROWS), .WORDS(WORDS), .LISTS(LISTS), .OUTPUT(OUTPUT)
      ) u (
          .clk(clk),
          .rst(rst),
          .swap(swap),
          .load(lane_load[l]),
          .load_row(lane_rows[ROW*l+:ROW]),
          .wanted(wanted),
          .wanted_valid(wanted_valid),
          .more(lane_more[LISTS*l+:LISTS]),
          .gates(lane_gates),
          .factors(lane_factors),
          .depthwise(lane_depthwise),
          .project(lane_project)
      );
      for (t = 0; t < LISTS; t = t + 1) begin : g_list
        assign gates1[PIXELS*(LANES*t+l)+:PIXELS] = lane_gates[PIXELS*t+:PIXELS];
        assign factors1[24*(LANES*t+l)+:24] = lane_factors[24*t+:24];
        assign depthwise1[16*(LANES*t+l)+:16] = lane_depthwise[16*t+:16];
        assign project1[16*(LANES*t+l)+:16] = lane_project[16*t+:16];
      end
    end
  endgenerate

  // What the pass being sent is; stage s is s cycles after its entries were chosen.
  reg [1:0] kind0, kind1, kind2, kind3;
  reg [TAP-1:0] tap0, tap1, tap2, tap3;
  reg [COLUMN-1:0] column0, column1, column2;
  always @(posedge clk) begin
    if (swap) begin
      kind0 <= kind;
      tap0 <= tap;
      column0 <= column;
    end
    kind1 <= kind0;
    kind2 <= kind1;
    kind3 <= kind2;
    tap1 <= tap0;
    tap2 <= tap1;
    tap3 <= tap2;
    column1 <= column0;
    column2 <= column1;
  end
  wire [16*PIXELS-1:0] x;
  localparam PLANE = 16 * (2 * (TILE_ROWS - 1) + KERNEL) * (2 * (TILE_COLUMNS - 1) + KERNEL);
  input_plane #(
          .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .KERNEL(KERNEL), .COLUMNS(2 << COLUMN)
  ) u_input (
      .clk(clk),
      .write(write && write_region == 5'd14),
      .write_at(write_at[COLUMN:0]),
      .write_data(write_data[PLANE-1:0]),
      .column({planes, column2}),
      .tap(tap3),
      .stride_2(own.stride_2),
      .x(x)
  );
  localparam SHIFTS = 26, FINISHING = ACCUMULATOR + 6 + 16;
  reg [OUTPUTS*SHIFTS-1:0] shifts;
  localparam RULE = SHIFTS + FINISHING, RULE_TOGETHER = together(RULE, OUTPUTS / LISTS);
  localparam RULES = $clog2(OUTPUTS / RULE_TOGETHER);
  reg [RULE_TOGETHER*FINISHING-1:0] rules;
  integer o;
  always @* for (o = 0; o < RULE_TOGETHER; o = o + 1) rules[FINISHING*o+:FINISHING] = write_data[RULE*o+SHIFTS+:FINISHING];
  always @(posedge clk)
    if (write && write_region == 5'd1)
      for (o = 0; o < OUTPUTS; o = o + 1)
        if (write_at[OUTPUT-1:0] == OUTPUT'(o / RULE_TOGETHER))
          shifts[SHIFTS*o+:SHIFTS] <= write_data[RULE*(o%RULE_TOGETHER)+:SHIFTS];
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
  wire [WORD-1:0] read_word;
  wire [LISTS-1:0] read_begun;
  wire [LISTS*PIXELS*ACCUMULATOR-1:0] sums;
  generate
    for (t = 0; t < LISTS; t = t + 1) begin : g_array
      list_array #(
          .PIXELS(PIXELS), .LANES(LANES), .OUTPUTS(OUTPUTS), .LISTS(LISTS), .ACCUMULATOR(ACCUMULATOR), .SUM(SUM)
      ) u (
          .clk(clk),
          .rst(rst),
          .clear(start_main),
          .set(set),
          .leave(start_finish),
          .wanted(wanted[OUTPUT*t+:OUTPUT]),
          .first(list_first[t]),
          .last(list_last[t]),
          .gates(gates1[LANES*PIXELS*t+:LANES*PIXELS]),
          .factors(factors1[LANES*24*t+:LANES*24]),
          .depthwise(depthwise1[LANES*16*t+:LANES*16]),
          .project(project1[LANES*16*t+:LANES*16]),
          .kind1(kind1),
          .kind3(kind3),
          .x(x),
          .shifts(shifts),
          .read_word(read_word),
          .read_begun(read_begun[t]),
          .sums(sums[PIXELS*ACCUMULATOR*t+:PIXELS*ACCUMULATOR])
      );
    end
  endgenerate
  localparam RESIDUAL = $clog2(OUTPUTS * TILE_ROWS);
  output_rows #(
          .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .OUTPUTS(OUTPUTS), .LISTS(LISTS),
          .ACCUMULATOR(ACCUMULATOR)
  ) u_rows (
      .clk(clk),
      .rst(rst),
      .write_residual(write && write_region == 5'd17),
      .write_at(write_at[RESIDUAL-1:0]),
      .write_data(write_data[16*TILE_COLUMNS-1:0]),
      .begins(start_main),
      .set(set),
      .start(start_finish),
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
      .data(out_data)
  );
endmodule
