// Gate words that wait for a cycle in which their bank is not read; a word may pass in the cycle in which it comes.
module write_queue #(
    parameter WIDTH = 64,
    parameter DEPTH = 8,
    parameter COUNT = $clog2(DEPTH + 1)
) (
    input clk,
    input rst,
    input push,
    input [WIDTH-1:0] data,
    input blocked,
    output full,
    output write,
    output [WIDTH-1:0] out,
    output drained  // nothing is left with the end of this cycle
);
  reg [WIDTH-1:0] slots[0:DEPTH-1];  // the oldest first
  reg [COUNT-1:0] count;
  wire empty = count == 0;
  assign full = count == COUNT'(DEPTH);
  assign write = ~blocked & (~empty | push);
  assign out = empty ? data : slots[0];
  wire [COUNT-1:0] left = count + COUNT'(push) - COUNT'(write);
  assign drained = left == 0;
  wire [COUNT-1:0] place = count - COUNT'(write);
  integer i;
  always @(posedge clk)
    if (rst) count <= 0;
    else begin
      count <= left;
      for (i = 0; i < DEPTH; i = i + 1)
        if (push && !(empty && write) && place == COUNT'(i)) slots[i] <= data;
        else if (write && i + 1 < DEPTH) slots[i] <= slots[(i+1)%DEPTH];
    end
endmodule
