// Walks the command list in the global buffer, a line of commands at a time. A command is its kind (0 the end, 1 a fill,
// 2 a start of the core, 3 a fill that waits for lists alone), whether it waits for the other unit as well as for its own (a
// fill of kind 3 then waits for outputs to leave, and for nothing else of the core), and the fields of its unit.
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
    input finish_busy,
    input fill_ready,  // for the next fill
    input fill_reads,
    input fill_busy,
    output start_fill,
    output [FIELDS-1:0] fill_fields,
    output reg start_core,
    output reg [FIELDS-1:0] core_fields,  // from a cycle before a start until the next
    output busy
);
  reg running, coming;
  reg [LEFT-1:0] left;
  reg [HELD*WIDTH-1:0] line;
  reg quiet, lists_quiet, finish_quiet;  // a cycle after what worked its pipelines are as empty as a start needs them
  reg told;  // the core is, and starts with the next cycle
  wire core_works = told | start_core | core_busy, lists_work = told | start_core | lists_busy;
  wire finish_works = told | start_core | finish_busy;
  wire core_free = quiet & ~core_works, lists_done = lists_quiet & ~lists_work, left_done = finish_quiet & ~finish_works;
  wire [1:0] kind = line[1:0];
  wire after = line[2];
  wire fills = kind[0], starts = kind == 2;
  // What a fill writes last is there when the core starts, two cycles after its command.
  wire fill_free = fills ? fill_ready : ~(starts ? fill_reads : fill_busy);
  wire waited = kind == 3 ? (after ? left_done : lists_done) : core_free | (fills & ~after);
  wire free = waited & (fill_free | (starts & ~after));
  wire step = running & (left != 0) & free;
  assign request = running & (left == 0) & ~coming;
  assign start_fill = step & fills;
  assign fill_fields = line[3+:FIELDS];
  assign busy = running;
  always @(posedge clk) begin
    coming <= request & grant & ~rst;
    told <= step & starts & ~rst;
    start_core <= told & ~rst;
    quiet <= ~(rst | core_works);
    lists_quiet <= ~(rst | lists_work);
    finish_quiet <= ~(rst | finish_works);
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
