// Registers of a lane: two sets of rows. One is filled while the lists run from the other; every list takes the first
// row that has its output and has not been sent for it.
module lane #(
    parameter PIXELS = 64,
    parameter ROWS = 7,
    parameter WORDS = 4,
    parameter LISTS = 2,
    parameter FACTOR = 24,
    parameter OUTPUT = 5,
    parameter ROW = PIXELS + FACTOR + 16 + WORDS * (16 + OUTPUT + 1)
) (
    input clk,
    input rst,
    input swap,
    input load,
    input [ROW-1:0] load_row,  // gate word, factor, depthwise weight, project weights, their outputs, which are there
    input [LISTS*OUTPUT-1:0] wanted,
    input [LISTS-1:0] wanted_valid,
    output reg [LISTS-1:0] more,  // the list has another row in this lane
    output reg [LISTS*PIXELS-1:0] gates,
    output reg [LISTS*FACTOR-1:0] factors,
    output reg [LISTS*16-1:0] depthwise,
    output reg [LISTS*16-1:0] project
);
  localparam COUNT = $clog2(ROWS + 1);
  localparam HELD = ROW - WORDS;
  localparam AT_FACTOR = PIXELS;
  localparam AT_DEPTHWISE = AT_FACTOR + FACTOR;
  localparam AT_PROJECT = AT_DEPTHWISE + 16;
  localparam AT_OUTPUT = AT_PROJECT + 16 * WORDS;
  (* ram_style = "registers" *)  // all are looked at in every cycle
  reg [HELD-1:0] rows[0:2*ROWS-1];  // set 0, then set 1
  reg [WORDS-1:0] left[0:2*ROWS-1];  // words not sent yet
  reg active;  // the set the lists run from
  reg [COUNT-1:0] filled;  // rows of the other one
  reg [WORDS-1:0] hits;
  reg [WORDS-1:0] sent[0:ROWS-1];
  reg taken, picked;
  reg [HELD-1:0] view;
  reg [WORDS-1:0] view_left;
  reg [LISTS*PIXELS-1:0] gates_next;
  reg [LISTS*FACTOR-1:0] factors_next;
  reg [LISTS*16-1:0] depthwise_next, project_next;
  integer t, r, w;
  always @* begin
    gates_next = 0;
    factors_next = 0;
    depthwise_next = 0;
    project_next = 0;
    more = 0;
    hits = 0;
    view = 0;
    view_left = 0;
    taken = 0;
    picked = 0;
    for (r = 0; r < ROWS; r = r + 1) sent[r] = 0;
    for (t = 0; t < LISTS; t = t + 1) begin
      taken = 0;
      for (r = 0; r < ROWS; r = r + 1) begin
        view = active ? rows[ROWS+r] : rows[r];
        view_left = active ? left[ROWS+r] : left[r];
        for (w = 0; w < WORDS; w = w + 1)
          hits[w] = view_left[w] & wanted_valid[t] & (view[AT_OUTPUT+OUTPUT*w+:OUTPUT] == wanted[OUTPUT*t+:OUTPUT]);
        if (taken && |hits) more[t] = 1;
        // At most one row is picked: what it has is added to nothing, not chosen by one row after the other.
        hits = hits & ~{WORDS{taken}};
        picked = |hits;
        taken = taken | picked;
        sent[r] = sent[r] | hits;
        gates_next[PIXELS*t+:PIXELS] = gates_next[PIXELS*t+:PIXELS] | (view[0+:PIXELS] & {PIXELS{picked}});
        factors_next[FACTOR*t+:FACTOR] = factors_next[FACTOR*t+:FACTOR] | (view[AT_FACTOR+:FACTOR] & {FACTOR{picked}});
        depthwise_next[16*t+:16] = depthwise_next[16*t+:16] | (view[AT_DEPTHWISE+:16] & {16{picked}});
        for (w = 0; w < WORDS; w = w + 1)
          project_next[16*t+:16] = project_next[16*t+:16] | (view[AT_PROJECT+16*w+:16] & {16{hits[w]}});
      end
    end
  end
  integer q;
  always @(posedge clk) begin
    gates <= gates_next;
    factors <= factors_next;
    depthwise <= depthwise_next;
    project <= project_next;
    if (rst) begin
      active <= 0;
      filled <= 0;
      for (q = 0; q < 2 * ROWS; q = q + 1) left[q] <= 0;
    end else begin
      if (swap) active <= ~active;
      filled <= swap ? 0 : filled + COUNT'(load);
      for (q = 0; q < ROWS; q = q + 1) begin
        if (active) left[ROWS+q] <= left[ROWS+q] & ~sent[q];
        else left[q] <= left[q] & ~sent[q];
        if (load && filled == COUNT'(q)) begin
          if (active) begin
            rows[q] <= load_row[HELD-1:0];
            left[q] <= load_row[ROW-1:HELD];
          end else begin
            rows[ROWS+q] <= load_row[HELD-1:0];
            left[ROWS+q] <= load_row[ROW-1:HELD];
          end
        end
      end
    end
  end
endmodule
