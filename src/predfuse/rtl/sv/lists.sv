// Lists in progress: which output each sends, its entries from the lanes, and what becomes of them on all pixels.
module lists #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter KERNEL = 3,
    parameter LANES = 11,
    parameter LANE_ROWS = 7,
    parameter WORDS = 4,
    parameter LISTS = 2,
    parameter OUTPUTS = 32,
    parameter COLUMNS = 32,
    parameter ACCUMULATOR = 40,
    parameter SUM = 24,
    parameter SHIFTS = 26,
    parameter RULE = 88,  // shifts are its lowest bits, the rest is for the outputs that leave
    parameter RULE_TOGETHER = 4,  // rules of a word of the write port
    parameter DATA = 4624,
    parameter PIXELS = TILE_ROWS * TILE_COLUMNS,
    parameter TAP = $clog2(KERNEL * KERNEL + 1),
    parameter OUTPUT = $clog2(OUTPUTS),
    parameter COLUMN = $clog2(COLUMNS),
    parameter WORD = $clog2(OUTPUTS / LISTS),
    parameter ROW = PIXELS + 24 + 16 + WORDS * (16 + OUTPUT + 1)
) (
    input clk,
    input rst,
    input write,
    input [4:0] write_region,
    /* verilator lint_off UNUSED */
    input [15:0] write_at,
    input [DATA-1:0] write_data,  // other regions have more
    /* verilator lint_on UNUSED */
    input clear,  // the lists of an item begin, with sums in the set of words named here
    input set,
    input leave,  // the sums before leave
    input planes,  // which of the two sets of input planes
    input stride_2,
    // The pass being loaded: its rows, its outputs, whether it is loaded with the end of this cycle.
    input [1:0] kind,
    input [TAP-1:0] tap,
    input [COLUMN-1:0] column,
    input [LANES-1:0] load,
    input [LANES*ROW-1:0] rows,
    input [OUTPUTS-1:0] present,
    input ready,
    output busy,
    output ending,  // the last lists of a pass end with this cycle
    output swap,  // the pass that is loaded is sent from the next cycle on
    input [WORD-1:0] read_word,
    output [LISTS-1:0] read_begun,
    output [LISTS*PIXELS*ACCUMULATOR-1:0] sums
);
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
      .busy(busy),
      .ending(ending),
      .swap(swap)
  );

  wire [LISTS*LANES*PIXELS-1:0] gates1;
  wire [LISTS*LANES*24-1:0] factors1;
  wire [LISTS*LANES*16-1:0] depthwise1, project1;
  genvar l, t;
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
          .load(load[l]),
          .load_row(rows[ROW*l+:ROW]),
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
      .stride_2(stride_2),
      .x(x)
  );

  // Shifts of the rules.
  reg [OUTPUTS*SHIFTS-1:0] shifts;
  integer o;
  always @(posedge clk)
    if (write && write_region == 5'd1)
      for (o = 0; o < OUTPUTS; o = o + 1)
        if (write_at[OUTPUT-1:0] == OUTPUT'(o / RULE_TOGETHER))
          shifts[SHIFTS*o+:SHIFTS] <= write_data[RULE*(o%RULE_TOGETHER)+:SHIFTS];
  generate
    for (t = 0; t < LISTS; t = t + 1) begin : g_array
      list_array #(
          .PIXELS(PIXELS), .LANES(LANES), .OUTPUTS(OUTPUTS), .LISTS(LISTS), .ACCUMULATOR(ACCUMULATOR), .SUM(SUM),
          .SHIFTS(SHIFTS)
      ) u (
          .clk(clk),
          .rst(rst),
          .clear(clear),
          .set(set),
          .leave(leave),
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
endmodule
