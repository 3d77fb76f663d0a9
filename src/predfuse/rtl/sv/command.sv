// Walks the command list in the global buffer, a line of commands at a time. A command is its kind (0 the end, 1 a fill,
// 2 a start of the core, 3 a fill that waits for lists, not for predictions), whether it waits for the other unit as
// well as for its own, and the fields of its unit.
module command #(
    parameter BANKS = 8,
    parameter PIXELS = 4,
    parameter LINES = 480,
    parameter FIELDS = 104,
    parameter LINE = BANKS * PIXELS,
    parameter ROW = $clog2(LINES),
    parameter WIDTH = 3 + FIELDS,
    parameter HELD = 16 * LINE / WIDTH,
    parameter LEFT = $clog2(HELD + 1)
) (
    input clk,
    input rst,
    input start,
    input [ROW-1:0] start_row,
    output request,
    output reg [ROW-1:0] row,
    input grant,
    /* verilator lint_off UNUSED */
    input [16*LINE-1:0] read_data,  // a line may hold a little more than commands
    /* verilator lint_on UNUSED */
    input core_busy,
    input lists_busy,
    input fill_ready,  // for the next fill
    input fill_busy,
    output start_fill,
    output [FIELDS-1:0] fill_fields,
    output reg start_core,
    output reg [FIELDS-1:0] core_fields,  // from a cycle before a start until the next
    output busy
);
  localparam SETTLED = 2;  // cycles after which the pipelines of the core are empty: one is enough
  reg running, coming;
  reg [LEFT-1:0] left;
  reg [HELD*WIDTH-1:0] line;
  reg [1:0] quiet, lists_quiet;
  reg told;  // the core is, and starts with the next cycle
  wire core_works = told | start_core | core_busy, lists_work = told | start_core | lists_busy;
  wire core_free = quiet == SETTLED & ~core_works, lists_done = lists_quiet == SETTLED & ~lists_work;
  wire [1:0] kind = line[1:0];
  wire after = line[2];
  wire fills = kind[0], starts = kind == 2;
  wire fill_free = fills ? fill_ready : ~fill_busy;
  wire free = (core_free | ((fills & ~after) & (lists_done | ~kind[1]))) & (fill_free | (starts & ~after));
  wire step = running & (left != 0) & free;
  assign request = running & (left == 0) & ~coming;
  assign start_fill = step & fills;
  assign fill_fields = line[3+:FIELDS];
  assign busy = running;
  always @(posedge clk) begin
    coming <= request & grant & ~rst;
    told <= step & starts & ~rst;
    start_core <= told & ~rst;
    quiet <= rst | core_works ? 0 : quiet + 2'(quiet != SETTLED);
    lists_quiet <= rst | lists_work ? 0 : lists_quiet + 2'(lists_quiet != SETTLED);
    if (step & starts) core_fields <= line[3+:FIELDS];
    if (rst) begin
      running <= 0;
      left <= 0;
    end else if (start) begin
      running <= 1;
      left <= 0;
      row <= start_row;
    end else if (coming) begin
      left <= LEFT'(HELD);
      line <= read_data[HELD*WIDTH-1:0];
      row <= row + 1;
    end else if (step) begin
      running <= fills | starts;
      left <= left - 1;
      line <= line >> WIDTH;
    end
  end
endmodule
