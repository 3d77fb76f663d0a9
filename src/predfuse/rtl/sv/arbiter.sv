// Who has which banks of the global buffer: the first in the list goes first, and all that want only what is left.
module arbiter #(
    parameter CLIENTS = 4,
    parameter BANKS = 8
) (
    input [CLIENTS*BANKS-1:0] wanted,
    output reg [CLIENTS-1:0] grant
);
  reg [BANKS-1:0] taken;
  integer c;
  always @* begin
    taken = 0;
    for (c = 0; c < CLIENTS; c = c + 1) begin
      grant[c] = (|wanted[BANKS*c+:BANKS]) & ~|(wanted[BANKS*c+:BANKS] & taken);
      if (grant[c]) taken = taken | wanted[BANKS*c+:BANKS];
    end
  end
endmodule
