// The fused-block core of Archon: predictor, gate memory, lanes, fused-weight generators, PEs, finishing. One write port
// fills all its memories; three pulses start predictions, lists and finishing of an item.
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
    parameter INPUTS = 16,
    parameter HELD = 32,
    parameter COLUMNS = 32,
    parameter WRITES = 7,
    parameter QUEUE = 8,
    parameter CHANNELS = 768,
    parameter PARTS = 16,
    parameter PASSES = 1024,
    parameter CODES = 2048,
    parameter GATE_WORDS = 284,
    parameter TAP_WORDS = 128,
    parameter COLUMN_WORDS = 256,
    parameter PROJECT_ROWS = 78,
    parameter ACCUMULATOR = 40,
    parameter SUM = 24,
    parameter SCORE = 16,
    parameter DATA = 4624
) (
    input clk,
    input rst,
    input write,
    input [4:0] write_region,
    input [7:0] write_bank,
    input [15:0] write_at,
    input [DATA-1:0] write_data,
    input start_main,
    input start_predict,
    input behind,
    input start_finish,
    output main_busy,
    output predict_busy,
    output finish_busy,
    output swap,
    output reg out_valid,
    output reg [15:0] out_channel,
    output reg [7:0] out_row,
    output reg [16*TILE_COLUMNS-1:0] out_data
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
  localparam ROW = PIXELS + 24 + 16 + PROJECT;
  localparam WORD = $clog2(OUTPUTS / LISTS);
  localparam ROWS = $clog2(TILE_ROWS + 1);
  localparam ROUND = $clog2(HELD / INPUTS + 1);
  localparam UNIT = $clog2(HELD);
  localparam PART = $clog2(PARTS);

  // Records of the group and of the item.
  localparam GROUP = 28 + ROUND + UNIT + 1 + OUTPUT + 1 + PASS + 1 + CHANNEL + 1 + (TAPS + 1) * BANK;
  localparam ITEM = 2 * GATE + ROWS + PART + 1;
  reg [GROUP-1:0] group;
  reg [ITEM-1:0] item;
  always @(posedge clk)
    if (write) begin
      if (write_region == 5'd0) group <= write_data[GROUP-1:0];
      if (write_region == 5'd18) item <= write_data[ITEM-1:0];
    end
  wire stride_2, expand_gated, depthwise_gated, residual;
  wire [3:0] hidden_max, input_min, input_max;
  wire [5:0] input_shift, residual_shift;
  wire [ROUND-1:0] rounds;
  wire [UNIT:0] channels;
  wire [OUTPUT:0] outputs;
  wire [PASS:0] passes;
  wire [CHANNEL:0] predicted;
  wire [(TAPS+1)*BANK-1:0] turns;
  assign {turns, predicted, passes, outputs, channels, rounds, residual_shift, residual, input_shift, input_max, input_min,
          hidden_max, depthwise_gated, expand_gated, stride_2} = group;
  wire [GATE-1:0] read_offset, write_offset;
  wire [ROWS-1:0] rows;
  wire [PART:0] parts;
  assign {parts, rows, write_offset, read_offset} = item;

  // Passes are loaded.
  localparam PASS_RECORD = 3 + TAP + COLUMN;
  wire loading, first, ready, loader_busy, lists_busy, ending;
  wire [1:0] kind;
  wire goes_on;
  wire [TAP-1:0] tap;
  wire [COLUMN-1:0] column;
  wire [BANKS-1:0] bank_done, issue;
  loader #(PASSES, PASS_RECORD) u_loader (
      .clk(clk),
      .rst(rst),
      .write(write && write_region == 5'd2),
      .write_at(write_at[PASS-1:0]),
      .write_data(write_data[PASS_RECORD-1:0]),
      .start(start_main),
      .count(passes),
      .banks_done(&bank_done),
      .swap(swap),
      .loading(loading),
      .first(first),
      .ready(ready),
      .pass_record({column, tap, goes_on, kind}),
      .busy(loader_busy)
  );
  assign main_busy = loader_busy | lists_busy;
  reg [PASS:0] passes_done;
  always @(posedge clk)
    if (rst | start_main) passes_done <= 0;
    else if (ending) passes_done <= passes_done + 1;

  wire [LANE-1:0] bank_lane[0:BANKS-1];
  wire [ROW-PIXELS-1:0] bank_row[0:BANKS-1];
  wire [GATE-1:0] bank_gate_at[0:BANKS-1];
  wire [BANK-1:0] bank_gate[0:BANKS-1];
  wire [BANKS*(TAPS+1)*SLOTS-1:0] maps;
  wire [BANKS*(TAPS+1)*GATE-1:0] gate_bases;
  genvar b, l, p, t;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_bank
      wire [TAP-1:0] member_tap;
      wire [GATE-1:0] gate_at;
      wire [BANK-1:0] turn = turns[BANK*member_tap+:BANK];
      wire [BANK:0] turned = (BANK + 1)'(b) + (BANK + 1)'(turn);
      /* verilator lint_off UNUSED */
      wire [BANK:0] wrapped = turned - (BANK + 1)'(BANKS);
      /* verilator lint_on UNUSED */
      assign bank_gate[b] = turned >= (BANK + 1)'(BANKS) ? wrapped[BANK-1:0] : turned[BANK-1:0];
      assign bank_gate_at[b] = gate_at + read_offset;
      bank #(
          .LANES(LANES),
          .WORDS(WORDS),
          .OUTPUT(OUTPUT),
          .SLOTS(SLOTS),
          .TAPS(TAPS),
          .COLUMNS(COLUMNS),
          .TAP_WORDS(TAP_WORDS),
          .COLUMN_WORDS(COLUMN_WORDS),
          .PROJECT_ROWS(PROJECT_ROWS),
          .CODES(CODES),
          .GATE_ADDRESS(GATE),
          .DATA(DATA)
      ) u (
          .clk(clk),
          .write(write && write_bank == 8'(b)),
          .write_region(write_region),
          .write_at(write_at),
          .write_data(write_data),
          .rewind(start_main),
          .loading(loading),
          .first(first),
          .goes_on(goes_on),
          .kind(kind),
          .tap(tap),
          .column(column),
          .done(bank_done[b]),
          .issue(issue[b]),
          .lane(bank_lane[b]),
          .member_tap(member_tap),
          .gate_at(gate_at),
          .factor(bank_row[b][0+:24]),
          .depthwise(bank_row[b][24+:16]),
          .project(bank_row[b][40+:PROJECT]),
          .maps_out(maps[b*(TAPS+1)*SLOTS+:(TAPS+1)*SLOTS]),
          .gate_bases_out(gate_bases[b*(TAPS+1)*GATE+:(TAPS+1)*GATE])
      );
    end
  endgenerate

  // Gate memory: reads of the lists first, then writes of the predictor.
  reg [BANKS-1:0] gate_reads;
  reg [GATE-1:0] gate_read_at[0:BANKS-1];
  wire [PIXELS-1:0] gate_word[0:BANKS-1];
  wire [BANKS-1:0] gate_writes;
  wire [BANKS*GATE-1:0] gate_write_at;
  wire [BANKS*PIXELS-1:0] gate_words;
  wire [PIXELS-1:0] gate_mask;
  integer g, h;
  always @*
    for (g = 0; g < BANKS; g = g + 1) begin
      gate_reads[g] = 0;
      gate_read_at[g] = 0;
      for (h = 0; h < BANKS; h = h + 1)
        if (issue[h] && bank_gate[h] == BANK'(g)) begin
          gate_reads[g] = 1;
          gate_read_at[g] = gate_read_at[g] | bank_gate_at[h];
        end
    end
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_gate
      gate_bank #(PIXELS, GATE_WORDS) u (
          .clk(clk),
          .read(gate_reads[b]),
          .read_at(gate_read_at[b]),
          .read_data(gate_word[b]),
          .write(gate_writes[b]),
          .write_at(gate_write_at[GATE*b+:GATE] + write_offset),
          .write_data(gate_words[PIXELS*b+:PIXELS]),
          .mask(gate_mask)
      );
    end
  endgenerate
  predictor #(
      .TILE_ROWS(TILE_ROWS),
      .TILE_COLUMNS(TILE_COLUMNS),
      .KERNEL(KERNEL),
      .SIDE(SIDE),
      .INPUTS(INPUTS),
      .HELD(HELD),
      .WRITES(WRITES),
      .QUEUE(QUEUE),
      .BANKS(BANKS),
      .SLOTS(SLOTS),
      .CHANNELS(CHANNELS),
      .PARTS(PARTS),
      .PASSES(PASSES),
      .GATE_ADDRESS(GATE),
      .DATA(DATA),
      .SCORE(SCORE)
  ) u_predictor (
      .clk(clk),
      .rst(rst),
      .write(write),
      .write_region(write_region),
      .write_at(write_at),
      .write_data(write_data),
      .stride_2(stride_2),
      .expand_gated(expand_gated),
      .depthwise_gated(depthwise_gated),
      .hidden_max(hidden_max),
      .input_min(input_min),
      .input_max(input_max),
      .input_shift(input_shift),
      .rounds(rounds),
      .channels(channels),
      .count(predicted),
      .turns(turns),
      .maps(maps),
      .gate_bases(gate_bases),
      .start(start_predict),
      .parts(parts),
      .behind(behind),
      .passes_done(passes_done),
      .gate_reads(gate_reads),
      .gate_writes(gate_writes),
      .gate_write_at(gate_write_at),
      .gate_words(gate_words),
      .gate_mask(gate_mask),
      .busy(predict_busy)
  );

  // Banks to lanes.
  reg [LANES-1:0] lane_load;
  reg [ROW-1:0] lane_row[0:LANES-1];
  reg [OUTPUTS-1:0] present, present_now;
  integer n, m, w;
  always @* begin
    present_now = (loading & first) ? 0 : present;
    for (n = 0; n < LANES; n = n + 1) begin
      lane_load[n] = 0;
      lane_row[n] = 0;
      for (m = 0; m < BANKS; m = m + 1)
        if (issue[m] && bank_lane[m] == LANE'(n)) begin
          lane_load[n] = 1;
          lane_row[n] = lane_row[n] | {bank_row[m], gate_word[bank_gate[m]]};
        end
    end
    for (m = 0; m < BANKS; m = m + 1)
      for (w = 0; w < WORDS; w = w + 1)
        if (issue[m] && bank_row[m][40+WORDS*(16+OUTPUT)+w])
          present_now[bank_row[m][40+16*WORDS+OUTPUT*w+:OUTPUT]] = 1;
  end
  always @(posedge clk) present <= present_now;

  // Lists are sent.
  wire [LISTS*OUTPUT-1:0] wanted;
  wire [LISTS-1:0] wanted_valid, list_first, list_last;
  wire [LANES*LISTS-1:0] lane_more;
  reg [LISTS-1:0] more;
  always @* begin
    more = 0;
    for (n = 0; n < LANES; n = n + 1) more = more | lane_more[LISTS*n+:LISTS];
  end
  sequencer #(OUTPUTS, LISTS) u_sequencer (
      .clk(clk),
      .rst(rst),
      .ready(ready),
      .present(present_now),
      .more(more),
      .wanted(wanted),
      .wanted_valid(wanted_valid),
      .first(list_first),
      .last(list_last),
      .busy(lists_busy),
      .ending(ending),
      .swap(swap)
  );
  wire [LISTS*PIXELS-1:0] lane_gates[0:LANES-1];
  wire [LISTS*24-1:0] lane_factors[0:LANES-1];
  wire [LISTS*16-1:0] lane_depthwise[0:LANES-1], lane_project[0:LANES-1];
  generate
    for (l = 0; l < LANES; l = l + 1) begin : g_lane
      lane #(
          .PIXELS(PIXELS),
          .ROWS(LANE_ROWS),
          .WORDS(WORDS),
          .LISTS(LISTS),
          .OUTPUT(OUTPUT)
      ) u (
          .clk(clk),
          .rst(rst),
          .swap(swap),
          .load(lane_load[l]),
          .load_row(lane_row[l]),
          .wanted(wanted),
          .wanted_valid(wanted_valid),
          .more(lane_more[LISTS*l+:LISTS]),
          .gates(lane_gates[l]),
          .factors(lane_factors[l]),
          .depthwise(lane_depthwise[l]),
          .project(lane_project[l])
      );
    end
  endgenerate

  // What the pass being sent is; stage s is s cycles after its entries were chosen.
  localparam WEIGHT = 2'd0, EXPAND_BIAS = 2'd1;
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
      .TILE_ROWS(TILE_ROWS),
      .TILE_COLUMNS(TILE_COLUMNS),
      .KERNEL(KERNEL),
      .COLUMNS(COLUMNS)
  ) u_input (
      .clk(clk),
      .write(write && write_region == 5'd14),
      .write_at(write_at[COLUMN-1:0]),
      .write_data(write_data[PLANE-1:0]),
      .column(column2),
      .tap(tap3),
      .stride_2(stride_2),
      .x(x)
  );
  localparam RULE = 26 + ACCUMULATOR + 6 + 16;
  reg [RULE-1:0] rules[0:OUTPUTS-1];
  always @(posedge clk) if (write && write_region == 5'd1) rules[write_at[OUTPUT-1:0]] <= write_data[RULE-1:0];
  reg [OUTPUT:0] finish_output;
  reg [ROWS-1:0] finish_row;
  wire [LISTS*ACCUMULATOR-1:0] sums[0:PIXELS-1];
  generate
    for (t = 0; t < LISTS; t = t + 1) begin : g_list
      reg [OUTPUT-1:0] out1, out2, out3, out4;
      reg first1, first2, first3, last1, last2, last3, last4, bias4;
      reg [15:0] power4;
      wire [17:0] rule1 = rules[out1][17:0];
      wire [7:0] rule3 = rules[out3][25:18];
      wire [5:0] shift1 = kind1 == WEIGHT ? rule1[5:0] : kind1 == EXPAND_BIAS ? rule1[11:6] : rule1[17:12];
      always @(posedge clk) begin
        out1 <= wanted[OUTPUT*t+:OUTPUT];
        out2 <= out1;
        out3 <= out2;
        out4 <= out3;
        first1 <= list_first[t];
        first2 <= first1;
        first3 <= first2;
        last1 <= list_last[t];
        last2 <= last1 & ~rst;
        last3 <= last2 & ~rst;
        last4 <= last3 & ~rst;
        bias4 <= kind3 != WEIGHT;
        power4 <= 16'd1 << (kind3 == EXPAND_BIAS ? rule3[3:0] : rule3[7:4]);
      end
      wire [16*LANES-1:0] entries;
      reg [PIXELS-1:0] gates2[0:LANES-1];
      reg [PIXELS-1:0] gates3[0:LANES-1];
      for (l = 0; l < LANES; l = l + 1) begin : g_weight
        fused_weight u (
            .clk(clk),
            .project(lane_project[l][16*t+:16]),
            .factor(lane_factors[l][24*t+:24]),
            .depthwise(lane_depthwise[l][16*t+:16]),
            .shift(shift1),
            .direct(kind1 != WEIGHT && kind1 != EXPAND_BIAS),
            .entry(entries[16*l+:16])
        );
        always @(posedge clk) begin
          gates2[l] <= lane_gates[l][PIXELS*t+:PIXELS];
          gates3[l] <= gates2[l];
        end
      end
      for (p = 0; p < PIXELS; p = p + 1) begin : g_pe
        wire [LANES-1:0] gates;
        wire [SUM-1:0] sum;
        for (l = 0; l < LANES; l = l + 1) begin : g_gate
          assign gates[l] = gates3[l][p];
        end
        gated_tree #(LANES, SUM) u_tree (
            .clk(clk),
            .first(first3),
            .gates(gates),
            .entries(entries),
            .sum(sum)
        );
        partial_sums #(SUM, ACCUMULATOR, OUTPUTS / LISTS) u_sums (
            .clk(clk),
            .clear(start_main),
            .add(last4),
            .word(WORD'(out4 / OUTPUT'(LISTS))),
            .sum(sum),
            .x(bias4 ? power4 : x[16*p+:16]),
            .read_at(WORD'(finish_output / (OUTPUT + 1)'(LISTS))),
            .read_data(sums[p][ACCUMULATOR*t+:ACCUMULATOR])
        );
      end
    end
  endgenerate

  // Results leave row by row, output by output.
  reg finishing;
  assign finish_busy = finishing;
  reg [TILE_COLUMNS*ACCUMULATOR-1:0] row_sums;
  integer e;
  always @*
    for (e = 0; e < TILE_COLUMNS; e = e + 1)
      row_sums[ACCUMULATOR*e+:ACCUMULATOR] =
          sums[32'(finish_row)*TILE_COLUMNS+e][ACCUMULATOR*(32'(finish_output)%LISTS)+:ACCUMULATOR];
  wire [16*TILE_COLUMNS-1:0] residual_x, y;
  localparam RESIDUAL = $clog2(OUTPUTS * TILE_ROWS);
  memory #(16 * TILE_COLUMNS, OUTPUTS * TILE_ROWS) u_residual (
      .clk(clk),
      .write(write && write_region == 5'd17),
      .write_at(write_at[RESIDUAL-1:0]),
      .write_data(write_data[16*TILE_COLUMNS-1:0]),
      .read_at(RESIDUAL'(32'(finish_output) * TILE_ROWS + 32'(finish_row))),
      .read_data(residual_x)
  );
  /* verilator lint_off UNUSED */
  wire [RULE-1:0] rule = rules[finish_output[OUTPUT-1:0]];
  /* verilator lint_on UNUSED */
  finish #(TILE_COLUMNS, ACCUMULATOR) u_finish (
      .sums(row_sums),
      .bias(rule[26+:ACCUMULATOR]),
      .shift(rule[26+ACCUMULATOR+:6]),
      .residual(residual),
      .residual_shift(residual_shift),
      .residual_x(residual_x),
      .y(y)
  );
  wire last_row = finish_row + 1 == rows;
  always @(posedge clk) begin
    out_valid <= finishing;
    out_channel <= rule[32+ACCUMULATOR+:16];
    out_row <= 8'(finish_row);
    out_data <= y;
    if (rst) finishing <= 0;
    else if (start_finish) begin
      finishing <= 1;
      finish_output <= 0;
      finish_row <= 0;
    end else if (finishing) begin
      finish_row <= last_row ? 0 : finish_row + 1;
      if (last_row) finish_output <= finish_output + 1;
      finishing <= ~(last_row & (finish_output + 1 == outputs));
    end
  end
endmodule
