// Words of a line that the columns take, one each: turned, so that the first column gets word `by`. The last is next to the
// first.
module turn #(
    parameter COLUMNS = 8,
    parameter BITS = 16,
    parameter BY = $clog2(COLUMNS)
) (
    input [BY-1:0] by,
    input [COLUMNS*BITS-1:0] words,
    output [COLUMNS*BITS-1:0] turned
);
  wire [COLUMNS*BITS-1:0] after[0:BY];
  assign after[0] = words;
  genvar k;
  generate
    for (k = 0; k < BY; k = k + 1) begin : g_stage
      wire [COLUMNS*BITS-1:0] now = after[k];
      assign after[k+1] = by[k] ? {now[2**k*BITS-1:0], now[COLUMNS*BITS-1:2**k*BITS]} : now;
    end
  endgenerate
  assign turned = after[BY];
endmodule
