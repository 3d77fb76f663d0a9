// Gate words of two tiles, one access a bank a cycle: the reads of the lists first, then the writes of the predictor.
module gate_memory #(
    parameter PIXELS = 64,
    parameter BANKS = 12,
    parameter GATE_WORDS = 284,
    parameter ADDRESS = $clog2(GATE_WORDS),
    parameter BANK = $clog2(BANKS)
) (
    input clk,
    // of the memories beside the lanes: each wants a word of one bank
    input [BANKS-1:0] issue,
    input [BANKS*BANK-1:0] wanted_bank,
    input [BANKS*ADDRESS-1:0] wanted_at,
    input [ADDRESS-1:0] read_offset,
    output reg [BANKS-1:0] reads,
    output [BANKS*PIXELS-1:0] read_words,
    // of the predictor: a word into every bank
    input [BANKS-1:0] writes,
    input [BANKS*ADDRESS-1:0] write_at,
    input [ADDRESS-1:0] write_offset,
    input [BANKS*PIXELS-1:0] write_words,
    input [PIXELS-1:0] mask
);
  reg [ADDRESS-1:0] read_at[0:BANKS-1];
  integer g, h;
  always @*
    for (g = 0; g < BANKS; g = g + 1) begin
      reads[g] = 0;
      read_at[g] = 0;
      for (h = 0; h < BANKS; h = h + 1)
        if (issue[h] && wanted_bank[BANK*h+:BANK] == BANK'(g)) begin
          reads[g] = 1;
          read_at[g] = read_at[g] | (wanted_at[ADDRESS*h+:ADDRESS] + read_offset);
        end
    end
  genvar b;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_bank
      gate_bank #(PIXELS, GATE_WORDS) u (
          .clk(clk),
          .read(reads[b]),
          .read_at(read_at[b]),
          .read_data(read_words[PIXELS*b+:PIXELS]),
          .write(writes[b]),
          .write_at(write_at[ADDRESS*b+:ADDRESS] + write_offset),
          .write_data(write_words[PIXELS*b+:PIXELS]),
          .mask(mask)
      );
    end
  endgenerate
endmodule
