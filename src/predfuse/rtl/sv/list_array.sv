// One list in progress on all pixels: fused weights of its entries, gated trees, multipliers and partial sums. Stage s
// is s cycles after the entries were chosen.
module list_array #(
    parameter PIXELS = 64,
    parameter LANES = 11,
    parameter OUTPUTS = 32,
    parameter LISTS = 2,
    parameter ACCUMULATOR = 40,
    parameter SUM = 24,
    parameter OUTPUT = $clog2(OUTPUTS),
    parameter WORD = $clog2(OUTPUTS / LISTS),
    parameter SHIFTS = 26
) (
    input clk,
    input rst,
    input clear,  // sums of an item are to come, in the set of words named here
    input set,
    input leave,  // those before leave
    // stage 0: which output is sent
    input [OUTPUT-1:0] wanted,
    input first,
    input last,
    // stage 1: its entries
    input [LANES*PIXELS-1:0] gates,
    input [LANES*24-1:0] factors,
    input [LANES*16-1:0] depthwise,
    input [LANES*16-1:0] project,
    input [1:0] kind1,
    // stages 3 and 4
    input [1:0] kind3,
    input [16*PIXELS-1:0] x,
    input [OUTPUTS*SHIFTS-1:0] shifts,
    input [WORD-1:0] read_word,
    output read_begun,  // if not, the sums are 0 and what is read is of no account
    output [PIXELS*ACCUMULATOR-1:0] sums
);
  localparam WEIGHT = 2'd0, EXPAND_BIAS = 2'd1;
  reg [OUTPUT-1:0] out1, out2, out3, out4;
  reg first1, first2, first3, last1, last2, last3, last4, bias4;
  reg [15:0] power4;
  wire [17:0] places = shifts[SHIFTS*out1+:18];
  wire [7:0] exponents = shifts[SHIFTS*out3+18+:8];
  wire [5:0] shift1 = kind1 == WEIGHT ? places[5:0] : kind1 == EXPAND_BIAS ? places[11:6] : places[17:12];
  always @(posedge clk) begin
    out1 <= wanted;
    out2 <= out1;
    out3 <= out2;
    out4 <= out3;
    first1 <= first;
    first2 <= first1;
    first3 <= first2;
    last1 <= last;
    last2 <= last1 & ~rst;
    last3 <= last2 & ~rst;
    last4 <= last3 & ~rst;
    bias4 <= kind3 != WEIGHT;
    power4 <= 16'd1 << (kind3 == EXPAND_BIAS ? exponents[3:0] : exponents[7:4]);
  end
  // Sums are not cleared: the first product of an item overwrites. The second set begins half of the words further.
  localparam WORDS = OUTPUTS / LISTS;
  reg second;
  wire [WORD:0] place4 = (WORD + 1)'(out4 / OUTPUT'(LISTS)) + ({WORD + 1{second}} & (WORD + 1)'(WORDS / 2));
  wire [WORD-1:0] word4 = WORD'(place4 >= (WORD + 1)'(WORDS) ? place4 - (WORD + 1)'(WORDS) : place4);
  reg [WORDS-1:0] begun, leaving;
  // The last sum of an item may be written in the cycle in which the next begins.
  wire [WORDS-1:0] written = begun | WORDS'(last4) << word4;
  always @(posedge clk) begin
    if (clear) second <= set;
    begun <= clear ? 0 : written;
    if (leave) leaving <= written;
  end
  assign read_begun = leaving[read_word];
  wire [16*LANES-1:0] entries;
  reg [LANES*PIXELS-1:0] gates2, gates3;
  always @(posedge clk) begin
    gates2 <= gates;
    gates3 <= gates2;
  end
  genvar l, p;
  generate
    for (l = 0; l < LANES; l = l + 1) begin : g_weight
      fused_weight u (
          .clk(clk),
          .project(project[16*l+:16]),
          .factor(factors[24*l+:24]),
          .depthwise(depthwise[16*l+:16]),
          .shift(shift1),
          .direct(kind1 != WEIGHT && kind1 != EXPAND_BIAS),
          .entry(entries[16*l+:16])
      );
    end
    for (p = 0; p < PIXELS; p = p + 1) begin : g_pe
      wire [LANES-1:0] on;
      wire [SUM-1:0] sum;
      for (l = 0; l < LANES; l = l + 1) begin : g_gate
        assign on[l] = gates3[PIXELS*l+p];
      end
      gated_tree #(LANES, SUM) u_tree (
          .clk(clk),
          .first(first3),
          .gates(on),
          .entries(entries),
          .sum(sum)
      );
      partial_sums #(SUM, ACCUMULATOR, OUTPUTS / LISTS) u_sums (
          .clk(clk),
          .add(last4),
          .begun(begun[word4]),
          .word(word4),
          .sum(sum),
          .x(bias4 ? power4 : x[16*p+:16]),
          .read_at(read_word),
          .read_data(sums[ACCUMULATOR*p+:ACCUMULATOR])
      );
    end
  endgenerate
endmodule
