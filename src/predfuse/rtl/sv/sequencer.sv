// Which output every list in progress sends, lowest first; when the sets of lane registers change.
module sequencer #(
    parameter OUTPUTS = 32,
    parameter LISTS = 2,
    parameter OUTPUT = $clog2(OUTPUTS)
) (
    input clk,
    input rst,
    input ready,  // the next pass is loaded, or is with the end of this cycle
    input [OUTPUTS-1:0] present,  // its outputs
    input [LISTS-1:0] more,
    output reg [LISTS*OUTPUT-1:0] wanted,
    output reg [LISTS-1:0] wanted_valid,
    output [LISTS-1:0] first,
    output [LISTS-1:0] last,
    output busy,
    output ending,  // the last lists of a pass end with this cycle
    output swap
);
  localparam HALF = OUTPUTS / LISTS;
  reg [HALF-1:0] left[0:LISTS-1];
  reg [HALF-1:0] rest[0:LISTS-1];
  reg [LISTS-1:0] begun, done;
  reg found;
  integer t, i;
  always @* begin
    wanted = 0;
    wanted_valid = 0;
    found = 0;
    for (t = 0; t < LISTS; t = t + 1) begin
      found = 0;
      for (i = 0; i < HALF; i = i + 1)
        if (left[t][i] && !found) begin
          found = 1;
          wanted[OUTPUT*t+:OUTPUT] = OUTPUT'(i * LISTS + t);
        end
      wanted_valid[t] = found;
    end
  end
  // Apart from what is wanted, which says whether there is more.
  integer m;
  always @*
    for (m = 0; m < LISTS; m = m + 1) begin
      rest[m] = left[m] & (left[m] - 1);
      done[m] = (rest[m] == 0) & ~more[m];
    end
  assign first = ~begun;
  assign last = wanted_valid & ~more;
  assign busy = |wanted_valid;
  assign ending = busy & (&done);
  assign swap = (&done) & ready;
  integer u, j;
  always @(posedge clk)
    if (rst) begin
      begun <= 0;
      for (u = 0; u < LISTS; u = u + 1) left[u] <= 0;
    end else
      for (u = 0; u < LISTS; u = u + 1) begin
        begun[u] <= wanted_valid[u] & more[u];
        if (swap) for (j = 0; j < HALF; j = j + 1) left[u][j] <= present[j*LISTS+u];
        else if (last[u]) left[u] <= rest[u];
      end
endmodule
