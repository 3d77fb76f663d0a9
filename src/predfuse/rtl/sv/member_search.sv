// Walks through the members of a pass in one bank: slots ascending, taps of a slot where biases mix them, rows of project
// weights. `step` goes on to the next.
module member_search #(
    parameter SLOTS = 64,
    parameter TAPS = 9,
    parameter TAP = $clog2(TAPS + 1),
    parameter SLOT = $clog2(SLOTS),
    parameter ROW = 4
) (
    input clk,
    input fresh,  // first cycle of a pass whose members are `map`; else those left go on
    input step,
    input every_tap,
    input [TAP-1:0] tap,
    input [SLOTS-1:0] map,
    input [TAPS*SLOTS-1:0] tap_maps,
    input [SLOTS*ROW-1:0] slot_rows,
    output any,
    output last,
    output reg [SLOT-1:0] slot,
    output reg [TAP-1:0] member_tap,
    output [ROW-1:0] row
);
  reg [SLOTS-1:0] left;
  reg [TAPS-1:0] taps_left;
  reg begun;  // taps of the slot are in taps_left
  reg [ROW-1:0] row_left;
  wire [SLOTS-1:0] now = fresh ? map : left;
  wire [SLOTS-1:0] rest = now & (now - 1);
  assign row = fresh ? 0 : row_left;
  assign any = |now;
  reg [TAPS-1:0] taps;
  reg [SLOTS-1:0] tap_map;
  reg found;
  integer i, k;
  always @* begin
    slot = 0;
    found = 0;
    tap_map = 0;
    for (i = 0; i < SLOTS; i = i + 1)
      if (now[i] && !found) begin
        found = 1;
        slot = SLOT'(i);
      end
    taps = taps_left;
    if (fresh | ~begun) begin
      // No shifter of all maps: each has its own multiplexer.
      for (k = 0; k < TAPS; k = k + 1) begin
        tap_map = tap_maps[k*SLOTS+:SLOTS];
        taps[k] = tap_map[slot];
      end
    end
    member_tap = tap;
    found = 0;
    for (k = 0; k < TAPS; k = k + 1)
      if (every_tap && taps[k] && !found) begin
        found = 1;
        member_tap = TAP'(k);
      end
  end
  wire [TAPS-1:0] taps_rest = taps & (taps - 1);
  wire last_row = row + 1 == slot_rows[ROW*slot+:ROW];
  wire last_tap = ~every_tap | (taps_rest == 0);
  assign last = last_row & last_tap & (rest == 0);
  always @(posedge clk)
    if (step) begin
      row_left <= last_row ? 0 : row + 1;
      left <= (last_row & last_tap) ? rest : now;
      begun <= ~(last_row & last_tap);
      taps_left <= last_row ? taps_rest : taps;
    end else begin
      row_left <= row;
      left <= now;
      if (fresh) begun <= 0;
    end
endmodule
