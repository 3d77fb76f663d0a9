// Hands the gate words of a channel over to the queues before the banks: in the order of the taps, one a bank and WRITES
// a cycle, to queues that have room.
module gate_words #(
    parameter PIXELS = 64,
    parameter TAPS = 9,
    parameter BANKS = 12,
    parameter SLOTS = 64,
    parameter WRITES = 7,
    parameter GATE_ADDRESS = 9,
    parameter BANK = $clog2(BANKS),
    parameter SLOT = $clog2(SLOTS),
    parameter DATA = GATE_ADDRESS + PIXELS
) (
    input [TAPS:0] waiting,  // those of a tap, then that of mask 2
    input [BANK-1:0] bank,  // of the channel
    input [SLOT-1:0] slot,
    input [(TAPS+1)*BANK-1:0] turns,
    input [BANKS*(TAPS+1)*SLOTS-1:0] maps,
    input [BANKS*(TAPS+1)*GATE_ADDRESS-1:0] gate_bases,
    input [(TAPS+1)*PIXELS-1:0] words,
    input [BANKS-1:0] fulls,
    output reg [TAPS:0] sent,
    output reg [BANKS-1:0] push,
    output reg [BANKS*DATA-1:0] data  // address and word
);
  wire [SLOTS-1:0] below = (SLOTS'(1) << slot) - 1;
  reg [(TAPS+1)*SLOTS-1:0] map;
  reg [(TAPS+1)*GATE_ADDRESS-1:0] base;
  reg [GATE_ADDRESS-1:0] address;
  reg [BANK:0] to;
  reg [BANKS-1:0] wanted, taken;
  reg [TAPS:0] able;
  integer t, b;
  always @* begin
    map = 0;
    base = 0;
    for (b = 0; b < BANKS; b = b + 1)
      if (bank == BANK'(b)) begin
        map = map | maps[SLOTS*(TAPS+1)*b+:SLOTS*(TAPS+1)];
        base = base | gate_bases[GATE_ADDRESS*(TAPS+1)*b+:GATE_ADDRESS*(TAPS+1)];
      end
    sent = 0;
    push = 0;
    able = 0;
    to = 0;
    wanted = 0;
    taken = fulls;
    address = 0;
    data = 0;
    for (t = 0; t <= TAPS; t = t + 1) begin
      to = (BANK + 1)'(bank) + (BANK + 1)'(turns[BANK*t+:BANK]);
      if (to >= (BANK + 1)'(BANKS)) to = to - (BANK + 1)'(BANKS);
      for (b = 0; b < BANKS; b = b + 1) wanted[b] = to == (BANK + 1)'(b);
      // The first that waits for a bank goes, if it is not full, or none to that bank: no word looks whether those
      // before it went, only where they want to go and how many can.
      able[t] = waiting[t] & ~|(wanted & taken);
      taken = taken | (wanted & {BANKS{waiting[t]}});
      sent[t] = able[t] & (t < WRITES || $countones(able & ((TAPS + 1)'(1) << t) - 1) < WRITES);
      push = push | (wanted & {BANKS{sent[t]}});
      address = base[GATE_ADDRESS*t+:GATE_ADDRESS] + GATE_ADDRESS'($countones(map[SLOTS*t+:SLOTS] & below));
      // What comes beside no push is of no account; a bank takes the first word for it only.
      for (b = 0; b < BANKS; b = b + 1)
        data[DATA*b+:DATA] = data[DATA*b+:DATA] | ({address, words[PIXELS*t+:PIXELS]} & {DATA{wanted[b] & sent[t]}});
    end
  end
endmodule
