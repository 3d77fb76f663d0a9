// Predicts a tile channel by channel: inputs into registers, the first stage into one of two hidden planes, the second
// stage from the other into gate words, these through queues into the gate memory.
module predictor #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter KERNEL = 3,
    parameter SIDE = 10,
    parameter UNIT_ROWS = 10,
    parameter INPUTS = 16,
    parameter HELD = 32,
    parameter WRITES = 7,
    parameter QUEUE = 8,
    parameter BANKS = 12,
    parameter SLOTS = 64,
    parameter CHANNELS = 768,
    parameter TOGETHER = 2,  // channels of a word
    parameter PARTS = 16,
    parameter PASSES = 1024,
    parameter GATE_ADDRESS = 9,
    parameter DATA = 128,
    parameter SCORE = 12,  // bits of the first stage's
    parameter SCORE2 = 11,  // of the second's
    parameter PIXELS = TILE_ROWS * TILE_COLUMNS,
    parameter TAPS = KERNEL * KERNEL,
    parameter SLOT = $clog2(SLOTS),
    parameter BANK = $clog2(BANKS),
    parameter PASS = $clog2(PASSES),
    parameter CHANNEL = $clog2(CHANNELS),
    parameter ROUND = $clog2(HELD / INPUTS + 1),
    parameter AT = $clog2(SIDE + 1),
    parameter ROWS = $clog2(TILE_ROWS + 1),
    parameter LINES = $clog2(TILE_COLUMNS + 1),
    parameter PLACE = $clog2(PIXELS),
    parameter PART = $clog2(PARTS),
    parameter UNIT = $clog2(HELD),
    parameter TURNS = (SIDE + UNIT_ROWS - 1) / UNIT_ROWS,
    parameter TURN = $clog2(TURNS + 1),
    parameter SHIFT = $clog2(SCORE)
) (
    input clk,
    input rst,
    input write,
    input [4:0] write_region,
    /* verilator lint_off UNUSED */
    input [15:0] write_at,
    input [DATA-1:0] write_data,
    /* verilator lint_on UNUSED */
    // of the group
    input stride_2,
    input expand_gated,
    input depthwise_gated,
    input [3:0] hidden_max,
    input [3:0] input_min,
    input [3:0] input_max,
    input [5:0] input_shift,
    input [ROUND-1:0] rounds,
    input [UNIT:0] channels,
    input [CHANNEL-1:0] channel_first,
    input [CHANNEL:0] channel_end,
    input [(TAPS+1)*BANK-1:0] turns,
    input [BANKS*(TAPS+1)*SLOTS-1:0] maps,
    input [BANKS*(TAPS+1)*GATE_ADDRESS-1:0] gate_bases,
    // of the item
    input start,
    input [PART-1:0] part_first,
    input [PART:0] part_end,
    input behind,
    input [PASS:0] passes_done,
    input [BANKS-1:0] gate_reads,
    output [BANKS-1:0] gate_writes,
    output [BANKS*GATE_ADDRESS-1:0] gate_write_at,
    output [BANKS*PIXELS-1:0] gate_words,
    output [PIXELS-1:0] gate_mask,
    output busy
);
  localparam PLANE = SIDE * SIDE;
  localparam UNITS = UNIT_ROWS * SIDE;  // pixels of a turn; the last turn may have some beyond the plane
  localparam WALKED = TURNS * UNITS;
  localparam RECORD = 3 * HELD + SCORE + SHIFT + SCORE2 + 4 * TAPS + 1 + BANK + SLOT + PASS + 1;
  localparam PART_RECORD = 16 + 4 * AT + ROWS + LINES + PLACE + TURN;

  // What to do.
  reg reading, running, following;
  reg [15:0] tick;
  reg [PART:0] part;
  wire [TURN-1:0] turns_of_part;
  wire [PLACE-1:0] place;
  wire [LINES-1:0] out_columns;
  wire [ROWS-1:0] out_rows;
  wire [AT-1:0] row_first, row_end, column_first, column_end;
  wire [15:0] reading_cycles;
  memory #(PART_RECORD, PARTS) u_parts (
      .clk(clk),
      .write(write && write_region == 5'd16),
      .write_at(write_at[PART-1:0]),
      .write_data(write_data[PART_RECORD-1:0]),
      .read_at(part[PART-1:0]),
      .read_data({turns_of_part, place, out_columns, out_rows, column_end, column_first, row_end, row_first, reading_cycles})
  );
  assign busy = reading | running;

  // Inputs, a plane a cycle.
  reg [16*PLANE-1:0] planes[0:PARTS*HELD-1];
  reg [16*PLANE-1:0] plane;
  wire [16*WALKED-1:0] walked = (16 * WALKED)'(plane);
  reg load;
  reg [UNIT-1:0] load_at;
  localparam PLANE_AT = $clog2(PARTS * HELD);
  always @(posedge clk) begin
    if (write && write_region == 5'd15) planes[write_at[PLANE_AT-1:0]] <= write_data[16*PLANE-1:0];
    plane <= planes[PLANE_AT'(part)*PLANE_AT'(HELD)+PLANE_AT'(tick)];
    load <= reading && tick < 16'(channels);
    load_at <= tick[UNIT-1:0];
  end

  // Channels of both stages.
  reg [CHANNEL:0] first_at, second_at;
  reg [1:0] full;
  reg fill, drain, begun;
  reg [ROUND-1:0] round;
  reg [TURN-1:0] turn;
  reg [TAPS:0] left;
  localparam WORD = $clog2(CHANNELS / TOGETHER);
  reg [TOGETHER*RECORD-1:0] records[0:CHANNELS/TOGETHER-1];
  /* verilator lint_off UNUSED */
  reg [RECORD-1:0] record1, record2;  // each stage uses its part
  wire [CHANNEL:0] first_next, second_next;
  /* verilator lint_on UNUSED */
  always @(posedge clk) begin
    if (write && write_region == 5'd13) records[write_at[WORD-1:0]] <= write_data[TOGETHER*RECORD-1:0];
    record1 <= RECORD'(records[WORD'(32'(first_next)/TOGETHER)] >> RECORD * (32'(first_next) % TOGETHER));
    record2 <= RECORD'(records[WORD'(32'(second_next)/TOGETHER)] >> RECORD * (32'(second_next) % TOGETHER));
  end
  localparam AT_OFFSET = 3 * HELD, AT_SHIFT = AT_OFFSET + SCORE, AT_TAPS = AT_SHIFT + SHIFT, AT_OFFSET2 = AT_TAPS + 3 * TAPS;
  localparam AT_WANTED = AT_OFFSET2 + SCORE2, AT_BANK = AT_WANTED + TAPS + 1, AT_SLOT = AT_BANK + BANK;
  localparam AT_RELEASE = AT_SLOT + SLOT;
  wire expanding = running & (first_at != channel_end) & (full < 2);
  wire turned = expanding & (round + 1 == rounds);
  wire expanded = turned & (turn + 1 == turns_of_part);
  wire [UNITS-1:0] mask_next;
  wire [4*UNITS-1:0] hidden_next;
  wire [PIXELS*TAPS-1:0] masks_under;
  wire [4*PIXELS*TAPS-1:0] hiddens_under;
  hidden_planes #(
      .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .KERNEL(KERNEL), .SIDE(SIDE), .UNIT_ROWS(UNIT_ROWS)
  ) u_hidden (
      .clk(clk),
      .write(turned),
      .fill(fill),
      .turn(turn),
      .masks_in(mask_next),
      .hiddens_in(hidden_next),
      .drain(drain),
      .stride_2(stride_2),
      .masks(masks_under),
      .hiddens(hiddens_under)
  );
  reg [TURNS-1:0] load_turns;
  integer v;
  always @* for (v = 0; v < TURNS; v = v + 1) load_turns[v] = load & (TURN'(v) < turns_of_part);
  wire [3*INPUTS-1:0] round_weights = record1[3*INPUTS*round+:3*INPUTS];
  wire [(TAPS+1)*PIXELS-1:0] words;
  genvar p, i, j, k, b;
  generate
    for (p = 0; p < UNITS; p = p + 1) begin : g_expand
      wire [7:0] unit_row = 8'(p / SIDE) + 8'(UNIT_ROWS) * 8'(turn);
      wire in_rows = unit_row >= 8'(row_first) && unit_row < 8'(row_end);
      wire in_image = in_rows && AT'(p % SIDE) >= column_first && AT'(p % SIDE) < column_end;
      wire [16*TURNS-1:0] load_x;
      for (k = 0; k < TURNS; k = k + 1) begin : g_turn
        assign load_x[16*k+:16] = walked[16*(UNITS*k+p)+:16];
      end
      expand_unit #(
          .INPUTS(INPUTS),
          .HELD(HELD),
          .TURNS(TURNS),
          .SCORE(SCORE)
      ) u (
          .clk(clk),
          .load(load_turns),
          .load_at(load_at),
          .load_x(load_x),
          .input_shift(input_shift),
          .input_min(input_min),
          .input_max(input_max),
          .present(in_image),
          .step(expanding),
          .rounds(rounds),
          .round(round),
          .turn(turn),
          .weights(round_weights),
          .offset(record1[AT_OFFSET+:SCORE]),
          .shift(record1[AT_SHIFT+:SHIFT]),
          .hidden_max(hidden_max),
          .gated(expand_gated),
          .mask(mask_next[p]),
          .hidden(hidden_next[4*p+:4])
      );
    end
    for (i = 0; i < TILE_ROWS; i = i + 1) begin : g_row
      for (j = 0; j < TILE_COLUMNS; j = j + 1) begin : g_column
        wire [TAPS:0] gates;
        depthwise_unit #(
            .TAPS(TAPS),
            .SCORE(SCORE2)
        ) u (
            .hidden(hiddens_under[4*TAPS*(i*TILE_COLUMNS+j)+:4*TAPS]),
            .mask1(masks_under[TAPS*(i*TILE_COLUMNS+j)+:TAPS]),
            .weights(record2[AT_TAPS+:3*TAPS]),
            .offset(record2[AT_OFFSET2+:SCORE2]),
            .gated(depthwise_gated),
            .present(ROWS'(i) < out_rows && LINES'(j) < out_columns),
            .gates(gates)
        );
        for (k = 0; k <= TAPS; k = k + 1) begin : g_bit
          assign words[PIXELS*k+i*TILE_COLUMNS+j] = gates[k];
        end
      end
    end
  endgenerate

  // Hand the words over: in the order of the taps, one a bank and WRITES a cycle, to queues that have room.
  wire [BANK-1:0] bank = record2[AT_BANK+:BANK];
  wire [SLOT-1:0] slot = record2[AT_SLOT+:SLOT];
  wire active = running & (full != 0) & (begun | ~following | (passes_done > record2[AT_RELEASE+:PASS+1]));
  wire [TAPS:0] waiting = begun ? left : record2[AT_WANTED+:TAPS+1];
  wire [BANKS-1:0] fulls, drained, push;
  wire [TAPS:0] sent;
  wire [BANKS*(GATE_ADDRESS+PIXELS)-1:0] pushed;
  gate_words #(
      .PIXELS(PIXELS), .TAPS(TAPS), .BANKS(BANKS), .SLOTS(SLOTS), .WRITES(WRITES), .GATE_ADDRESS(GATE_ADDRESS)
  ) u_words (
      .waiting(waiting & {(TAPS + 1) {active}}),
      .bank(bank),
      .slot(slot),
      .turns(turns),
      .maps(maps),
      .gate_bases(gate_bases),
      .words(words),
      .fulls(fulls),
      .sent(sent),
      .push(push),
      .data(pushed)
  );
  wire [TAPS:0] rest = waiting & ~sent;
  wire handed = active & (rest == 0);
  reg [PIXELS-1:0] rectangle;
  integer r, c;
  always @*
    for (r = 0; r < TILE_ROWS; r = r + 1)
      for (c = 0; c < TILE_COLUMNS; c = c + 1)
        rectangle[r*TILE_COLUMNS+c] = ROWS'(r) < out_rows && LINES'(c) < out_columns;
  assign gate_mask = rectangle << place;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_queue
      wire [PIXELS-1:0] unplaced;
      write_queue #(GATE_ADDRESS + PIXELS, QUEUE) u (
          .clk(clk),
          .rst(rst),
          .push(push[b]),
          .data(pushed[b*(GATE_ADDRESS+PIXELS)+:GATE_ADDRESS+PIXELS]),
          .blocked(gate_reads[b]),
          .full(fulls[b]),
          .write(gate_writes[b]),
          .out({gate_write_at[GATE_ADDRESS*b+:GATE_ADDRESS], unplaced}),
          .drained(drained[b])
      );
      assign gate_words[PIXELS*b+:PIXELS] = unplaced << place;
    end
  endgenerate

  wire read = reading & (tick + 1 == reading_cycles);
  assign first_next = read ? (CHANNEL + 1)'(channel_first) : first_at + (CHANNEL + 1)'(expanded);
  assign second_next = read ? (CHANNEL + 1)'(channel_first) : second_at + (CHANNEL + 1)'(handed);
  wire finished = running & (second_next == channel_end) & (&drained);
  always @(posedge clk)
    if (rst) begin
      reading <= 0;
      running <= 0;
      full <= 0;
      begun <= 0;
      fill <= 0;
      drain <= 0;
      first_at <= 0;
      second_at <= 0;
      round <= 0;
      turn <= 0;
      tick <= 0;
      part <= 0;
      following <= 0;
      left <= 0;
    end else begin
      first_at <= first_next;
      second_at <= second_next;
      if (start) begin
        reading <= channel_end != (CHANNEL + 1)'(channel_first);
        following <= behind;
        part <= (PART + 1)'(part_first);
        tick <= 0;
      end else if (reading) begin
        tick <= tick + 1;
        if (read) begin
          reading <= 0;
          running <= 1;
        end
      end else if (running) begin
        if (expanding) round <= turned ? 0 : round + 1;
        if (turned) turn <= expanded ? 0 : turn + 1;
        if (expanded) fill <= ~fill;
        if (handed) drain <= ~drain;
        if (active) begin
          begun <= ~handed;
          left <= rest;
        end
        full <= full + 2'(expanded) - 2'(handed);
        if (finished) begin
          running <= 0;
          reading <= part + 1 < part_end;
          part <= part + 1;
          tick <= 0;
        end
      end
    end
endmodule
