// Two planes of masks and hidden activations: a channel is written into one, turn by turn, while the other gives every
// output pixel what lies under its taps.
module hidden_planes #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter KERNEL = 3,
    parameter SIDE = 10,
    parameter UNIT_ROWS = 10,
    parameter TAPS = KERNEL * KERNEL,
    parameter PIXELS = TILE_ROWS * TILE_COLUMNS,
    parameter UNITS = UNIT_ROWS * SIDE,  // pixels of a turn; the last turn may have some beyond the plane
    parameter TURNS = (SIDE + UNIT_ROWS - 1) / UNIT_ROWS,
    parameter TURN = $clog2(TURNS + 1)
) (
    input clk,
    input write,
    input fill,  // which plane is written
    input [TURN-1:0] turn,
    input [UNITS-1:0] masks_in,
    input [4*UNITS-1:0] hiddens_in,
    input drain,  // which plane is read
    input stride_2,
    output [PIXELS*TAPS-1:0] masks,
    output [4*PIXELS*TAPS-1:0] hiddens
);
  localparam WALKED = TURNS * UNITS;
  reg [WALKED-1:0] mask_0, mask_1;
  reg [4*WALKED-1:0] hidden_0, hidden_1;
  integer w;
  always @(posedge clk)
    for (w = 0; w < TURNS; w = w + 1)
      if (write && turn == TURN'(w)) begin
        if (fill) begin
          mask_1[UNITS*w+:UNITS] <= masks_in;
          hidden_1[4*UNITS*w+:4*UNITS] <= hiddens_in;
        end else begin
          mask_0[UNITS*w+:UNITS] <= masks_in;
          hidden_0[4*UNITS*w+:4*UNITS] <= hiddens_in;
        end
      end
  /* verilator lint_off UNUSED */
  wire [WALKED-1:0] mask = drain ? mask_1 : mask_0;
  wire [4*WALKED-1:0] hidden = drain ? hidden_1 : hidden_0;
  /* verilator lint_on UNUSED */
  genvar i, j, k;
  generate
    for (i = 0; i < TILE_ROWS; i = i + 1) begin : g_row
      for (j = 0; j < TILE_COLUMNS; j = j + 1) begin : g_column
        for (k = 0; k < TAPS; k = k + 1) begin : g_tap
          // Output pixels whose taps lie beyond the plane have nothing to do.
          localparam R1 = i + k / KERNEL, C1 = j + k % KERNEL, R2 = 2 * i + k / KERNEL, C2 = 2 * j + k % KERNEL;
          localparam FIT1 = R1 < SIDE && C1 < SIDE, FIT2 = R2 < SIDE && C2 < SIDE;
          localparam Q1 = FIT1 ? R1 * SIDE + C1 : 0, Q2 = FIT2 ? R2 * SIDE + C2 : 0;
          localparam AT = TAPS * (i * TILE_COLUMNS + j) + k;
          assign masks[AT] = stride_2 ? mask[Q2] : mask[Q1];
          assign hiddens[4*AT+:4] = stride_2 ? hidden[4*Q2+:4] : hidden[4*Q1+:4];
        end
      end
    end
  endgenerate
endmodule
