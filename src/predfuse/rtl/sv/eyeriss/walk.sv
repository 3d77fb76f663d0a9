// Goes through the lists of the PEs that are in step, once a pixel, and from the weights of one pass to those of the next
// without a cycle between. Where weights are loaded beside the work, one half of the memory is worked on.
module walk #(
    parameter WEIGHTS = 32,
    parameter INPUTS = 12,
    parameter PIXEL = 12,
    parameter AT = $clog2(WEIGHTS),
    parameter INPUT = $clog2(INPUTS)
) (
    input clk,
    input rst,
    input told,  // the next weights are there, and the rest is about them
    input half,  // they lie in the second half
    input [AT-1:0] told_end,  // where the longest list ends
    input [INPUT-1:0] told_slide,  // words the window moves on with a pixel
    input [PIXEL-1:0] told_more,  // pixels after the first
    output taken,
    output reg work,
    output reg [AT-1:0] at,
    output reg [INPUT-1:0] base
);
  reg second;
  reg [AT-1:0] list_end;
  reg [INPUT-1:0] slide;
  reg [PIXEL-1:0] more;
  wire ends = at == list_end;
  wire over = ends & more == 0;
  assign taken = told & (~work | over);
  wire [INPUT-1:0] next_base;
  ring #(INPUTS) u_ring (base, slide, next_base);
  wire [AT-1:0] begin_at = (taken ? half : second) ? AT'(WEIGHTS / 2) : 0;
  always @(posedge clk) begin
    work <= ~rst & (taken | (work & ~over));
    if (taken | work) at <= taken | ends ? begin_at : at + 1;
    if (taken) begin
      second <= half;
      list_end <= told_end;
      slide <= told_slide;
    end
    if (taken) more <= told_more;
    else if (ends) more <= more - 1;
    if (rst) base <= 0;
    else if (work & ends) base <= next_base;
  end
endmodule
