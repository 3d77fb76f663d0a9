// The global buffer: consecutive words in consecutive banks, which have one access a cycle each. A client asks for `span`
// words, the first in bank `bank` of line `row`; what is read comes a cycle after the grant, in the order of the banks.
module global_buffer #(
    parameter BANKS = 8,
    parameter PIXELS = 4,
    parameter LINES = 480,
    parameter CLIENTS = 4,
    parameter ROW = $clog2(LINES),
    parameter BANK = $clog2(BANKS),
    parameter SPAN = $clog2(BANKS + 1),
    parameter LINE = BANKS * PIXELS
) (
    input clk,
    input [CLIENTS-1:0] request,
    input [CLIENTS*ROW-1:0] row,
    input [CLIENTS*BANK-1:0] bank,
    input [CLIENTS*SPAN-1:0] span,
    output [CLIENTS-1:0] grant,
    // The first client writes and the last may; pixels in the order of the banks.
    input [LINE-1:0] first_write,
    input [16*LINE-1:0] first_data,
    input last_write,
    input [16*LINE-1:0] last_data,
    output [16*LINE-1:0] read_data
);
  reg [CLIENTS*BANKS-1:0] wanted;
  integer c, n;
  always @*
    for (c = 0; c < CLIENTS; c = c + 1)
      for (n = 0; n < BANKS; n = n + 1)
        wanted[BANKS*c+n] = request[c]
            & (n + (n < 32'(bank[BANK*c+:BANK]) ? BANKS : 0) < 32'(bank[BANK*c+:BANK]) + 32'(span[SPAN*c+:SPAN]));
  arbiter #(CLIENTS, BANKS) u_arbiter (
      .wanted(wanted),
      .grant(grant)
  );
  genvar b;
  generate
    for (b = 0; b < BANKS; b = b + 1) begin : g_bank
      reg [CLIENTS-1:0] mine;
      reg [ROW-1:0] at;
      integer k;
      always @* begin
        at = 0;
        for (k = 0; k < CLIENTS; k = k + 1) begin
          mine[k] = grant[k] & wanted[BANKS*k+b];
          if (mine[k]) at = at | (row[ROW*k+:ROW] + ROW'(b < 32'(bank[BANK*k+:BANK])));
        end
      end
      buffer_bank #(PIXELS, LINES) u (
          .clk(clk),
          .access(|mine),
          .write(mine[0] ? first_write[PIXELS*b+:PIXELS] : {PIXELS{mine[CLIENTS-1] & last_write}}),
          .at(at),
          .write_data(mine[0] ? first_data[16*PIXELS*b+:16*PIXELS] : last_data[16*PIXELS*b+:16*PIXELS]),
          .read_data(read_data[16*PIXELS*b+:16*PIXELS])
      );
    end
  endgenerate
endmodule
