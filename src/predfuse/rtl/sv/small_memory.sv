// A memory of few words with one write port and several read ports; a word is read in the cycle in which it is addressed.
// Behind the same ports, cycle for cycle alike: a latch a bit for cells, registers for simulation and FPGAs.
module small_memory #(
    parameter WIDTH = 40,
    parameter DEPTH = 8,
    parameter READS = 2,
    parameter LATCHED = 0,  // memories of fewer words are latches: none, unless synthesis into cells says so
    parameter ADDRESS = $clog2(DEPTH)
) (
    input clk,
    input write,
    input [ADDRESS-1:0] write_at,
    input [WIDTH-1:0] write_data,
    input [READS*ADDRESS-1:0] read_at,
    output [READS*WIDTH-1:0] read_data
);
  reg [WIDTH-1:0] words[0:DEPTH-1];
  genvar w, r;
  generate
    if (DEPTH < LATCHED) begin : g_latches
      // One register for all words. The latches of the word that is written are open in the first half of the cycle behind
      // the write, while that register stands still; which word that is stands still in that half as well (a clock gate).
      reg [WIDTH-1:0] held;
      reg [DEPTH-1:0] chosen;
      always @(posedge clk) held <= write_data;
      for (w = 0; w < DEPTH; w = w + 1) begin : g_word
        wire open = clk & chosen[w];
        always_latch if (!clk) chosen[w] = write && write_at == ADDRESS'(w);
        always_latch if (open) words[w] = held;
      end
    end else begin : g_registers
      always @(posedge clk) if (write) words[write_at] <= write_data;
    end
    for (r = 0; r < READS; r = r + 1) begin : g_read
      assign read_data[WIDTH*r+:WIDTH] = words[read_at[ADDRESS*r+:ADDRESS]];
    end
  endgenerate
endmodule
