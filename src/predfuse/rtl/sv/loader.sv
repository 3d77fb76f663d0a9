// Passes in order: each is loaded while the lists of the one before run. The record of the one that follows is at hand, so
// that banks search their first members a cycle ahead; records are written two cycles before `start` at the latest.
module loader #(
    parameter PASSES = 1024,
    parameter WIDTH = 16,
    parameter TOGETHER = 4,  // records of a word
    parameter PASS = $clog2(PASSES),
    parameter WORD = $clog2(PASSES / TOGETHER)
) (
    input clk,
    input rst,
    input write,
    input [WORD-1:0] write_at,
    input [TOGETHER*WIDTH-1:0] write_data,
    input start,
    input [PASS-1:0] pass_first,  // at hand a cycle before `start`
    input [PASS:0] pass_end,
    input banks_done,
    input swap,
    output loading,
    output reg first,
    output ready,
    output reg [WIDTH-1:0] pass_record,
    output reg [WIDTH-1:0] coming,  // the record after it; while none is loaded, the first
    output advance,  // with the next cycle the pass `coming` is loaded
    output busy
);
  reg [TOGETHER*WIDTH-1:0] records[0:PASSES/TOGETHER-1];
  reg running, loaded;
  reg [PASS:0] at;  // of `coming`
  assign loading = running & ~loaded;
  assign ready = running & (loaded | banks_done);
  assign busy = running;
  assign advance = start ? pass_end != (PASS + 1)'(pass_first) : swap & (at != pass_end);
  wire [PASS:0] at_next = advance ? at + 1 : running & ~swap ? at : (PASS + 1)'(pass_first);
  always @(posedge clk) begin
    if (write) records[write_at] <= write_data;
    coming <= WIDTH'(records[WORD'(32'(at_next)/TOGETHER)] >> WIDTH * (32'(at_next) % TOGETHER));
    at <= at_next;
    first <= advance;
    if (advance) pass_record <= coming;
    if (rst) begin
      running <= 0;
      loaded <= 0;
    end else begin
      if (start | swap) running <= advance;
      loaded <= ready & ~swap & ~start;
    end
  end
endmodule
