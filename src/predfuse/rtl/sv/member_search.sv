// Walks through the members of a pass in one bank: slots ascending, taps of a slot where biases mix them, rows of project
// weights. Each member is searched in the cycle before it is at hand; `step` goes on to the next.
module member_search #(
    parameter SLOTS = 64,
    parameter TAPS = 9,
    parameter TAP = $clog2(TAPS + 1),
    parameter SLOT = $clog2(SLOTS),
    parameter ROW = 4
) (
    input clk,
    input rst,
    input renew,  // with the next cycle those of `map` come; at most the last member of those before is at hand
    input step,
    input every_tap,  // of `map`, as is `tap`
    input [TAP-1:0] tap,
    input [SLOTS-1:0] map,
    input [TAPS*SLOTS-1:0] tap_maps,
    input [SLOTS*ROW-1:0] slot_rows,
    output reg any,
    output reg last,
    output reg [SLOT-1:0] slot,
    output reg [SLOTS-1:0] below,  // a one for each slot below it
    output reg [TAP-1:0] member_tap,
    output reg [ROW-1:0] row
);
  // Behind the member at hand.
  reg [SLOTS-1:0] left;
  reg [TAPS-1:0] taps_left;
  reg [ROW-1:0] row_left;
  reg begun;  // taps of the slot are in taps_left
  reg every;
  wire ends = ~any | last;
  wire [SLOTS-1:0] now = ends ? map : left;
  wire [SLOTS-1:0] rest = now & (now - 1);
  wire [ROW-1:0] next_row = ends ? 0 : row_left;
  wire every_now = ends ? every_tap : every;
  reg [SLOT-1:0] next_slot;
  reg [TAP-1:0] next_tap;
  reg [TAPS-1:0] taps;
  reg [SLOTS-1:0] tap_map;
  reg found;
  integer i, k;
  always @* begin
    next_slot = 0;
    found = 0;
    tap_map = 0;
    for (i = 0; i < SLOTS; i = i + 1)
      if (now[i] && !found) begin
        found = 1;
        next_slot = SLOT'(i);
      end
    taps = taps_left;
    if (ends | ~begun) begin
      // No shifter of all maps: each has its own multiplexer.
      for (k = 0; k < TAPS; k = k + 1) begin
        tap_map = tap_maps[k*SLOTS+:SLOTS];
        taps[k] = tap_map[next_slot];
      end
    end
    next_tap = ends ? tap : member_tap;
    found = 0;
    for (k = 0; k < TAPS; k = k + 1)
      if (every_now && taps[k] && !found) begin
        found = 1;
        next_tap = TAP'(k);
      end
  end
  wire [TAPS-1:0] taps_rest = taps & (taps - 1);
  wire last_row = next_row + 1 == slot_rows[ROW*next_slot+:ROW];
  wire slot_ends = last_row & (~every_now | (taps_rest == 0));
  always @(posedge clk) begin
    if (rst) any <= 0;
    else if (renew) any <= |now;
    else if (step) any <= ~last;
    if (renew | step) begin
      last <= slot_ends & (rest == 0);
      slot <= next_slot;
      below <= ~now & (now - 1);
      member_tap <= next_tap;
      row <= next_row;
      every <= every_now;
      row_left <= last_row ? 0 : next_row + 1;
      left <= slot_ends ? rest : now;
      begun <= ~slot_ends;
      taps_left <= last_row ? taps_rest : taps;
    end
  end
endmodule
