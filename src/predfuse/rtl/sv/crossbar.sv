// Rows from the banks to the lanes, a row a lane a cycle; keeps which outputs the pass being loaded has.
module crossbar #(
    parameter PIXELS = 64,
    parameter LANES = 11,
    parameter WORDS = 4,
    parameter OUTPUTS = 32,
    parameter BANKS = 12,
    parameter OUTPUT = $clog2(OUTPUTS),
    parameter LANE = $clog2(LANES + 2),
    parameter BANK = $clog2(BANKS),
    parameter FACTORS = 24 + 16 + WORDS * (16 + OUTPUT + 1),
    parameter ROW = PIXELS + FACTORS
) (
    input clk,
    input fresh,  // first cycle of a pass
    input [BANKS-1:0] issue,
    input [BANKS*LANE-1:0] to_lane,
    input [BANKS*BANK-1:0] gate_bank,
    input [BANKS*FACTORS-1:0] factors,
    input [BANKS*PIXELS-1:0] gate_words,
    output reg [LANES-1:0] load,
    output reg [LANES*ROW-1:0] rows,
    output reg [OUTPUTS-1:0] present  // with the rows of this cycle
);
  localparam AT_OUTPUT = 40 + 16 * WORDS, AT_VALID = AT_OUTPUT + OUTPUT * WORDS;
  reg [OUTPUTS-1:0] so_far;
  reg [ROW-1:0] row;
  integer n, m, w;
  always @* begin
    present = fresh ? 0 : so_far;
    row = 0;
    for (n = 0; n < LANES; n = n + 1) begin
      load[n] = 0;
      row = 0;
      for (m = 0; m < BANKS; m = m + 1)
        if (issue[m] && to_lane[LANE*m+:LANE] == LANE'(n)) begin
          load[n] = 1;
          row = row | {factors[FACTORS*m+:FACTORS], gate_words[PIXELS*gate_bank[BANK*m+:BANK]+:PIXELS]};
        end
      rows[ROW*n+:ROW] = row;
    end
    for (m = 0; m < BANKS; m = m + 1)
      for (w = 0; w < WORDS; w = w + 1)
        if (issue[m] && factors[FACTORS*m+AT_VALID+w]) present[factors[FACTORS*m+AT_OUTPUT+OUTPUT*w+:OUTPUT]] = 1;
  end
  always @(posedge clk) so_far <= present;
endmodule
