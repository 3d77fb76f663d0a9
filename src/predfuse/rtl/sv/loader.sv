// Passes in order: each is loaded while the lists of the one before run.
module loader #(
    parameter PASSES = 1024,
    parameter WIDTH = 16,
    parameter PASS = $clog2(PASSES)
) (
    input clk,
    input rst,
    input write,
    input [PASS-1:0] write_at,
    input [WIDTH-1:0] write_data,
    input start,
    input [PASS:0] count,
    input banks_done,
    input swap,
    output loading,
    output reg first,
    output ready,
    output [WIDTH-1:0] pass_record,
    output busy
);
  reg running, loaded;
  reg [PASS:0] at;
  memory #(WIDTH, PASSES) u_passes (
      .clk(clk),
      .write(write),
      .write_at(write_at),
      .write_data(write_data),
      .read_at(at[PASS-1:0]),
      .read_data(pass_record)
  );
  assign loading = running & ~loaded;
  assign ready = running & (loaded | banks_done);
  assign busy = running;
  always @(posedge clk)
    if (rst) begin
      running <= 0;
      loaded <= 0;
      first <= 0;
      at <= 0;
    end else if (start) begin
      running <= count != 0;
      loaded <= 0;
      first <= 1;
      at <= 0;
    end else begin
      first <= swap;
      loaded <= ready & ~swap;
      if (swap) begin
        at <= at + 1;
        running <= at + 1 < count;
      end
    end
endmodule
