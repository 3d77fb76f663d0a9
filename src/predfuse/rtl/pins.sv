// The gateware behind the pins of an FPGA: a write comes in 16 bits a cycle, everything is registered.
module pins #(
    parameter DATA = 4624,
    parameter ITEM = 34,
    parameter COLUMNS = 8,
    parameter SHIFTED = 16 * ((DATA + ITEM + 21 + 15) / 16)
) (
    input clk,
    input rst,
    input shift,
    input [15:0] in,
    input [4:0] told,  // write, start_main, start_predict, behind, start_finish
    output reg [4:0] said,  // main_busy, predict_busy, finish_busy, swap, out_valid
    output reg [15:0] out_channel,
    output reg [7:0] out_row,
    output reg [16*COLUMNS-1:0] out_data
);
  reg reset;
  reg [4:0] pulses;
  reg [SHIFTED-1:0] word;
  wire [4:0] states;
  wire [15:0] channel;
  wire [7:0] row;
  wire [16*COLUMNS-1:0] data;
  always @(posedge clk) begin
    reset <= rst;
    pulses <= told;
    if (shift) word <= {in, word[SHIFTED-1:16]};
    said <= states;
    out_channel <= channel;
    out_row <= row;
    out_data <= data;
  end
  archon u (
      .clk(clk),
      .rst(reset),
      .write(pulses[4]),
      .write_region(word[20:16]),
      .write_at(word[15:0]),
      .write_data(word[21+:DATA]),
      .item(word[21+DATA+:ITEM]),
      .start_main(pulses[3]),
      .start_predict(pulses[2]),
      .behind(pulses[1]),
      .start_finish(pulses[0]),
      .main_busy(states[4]),
      .predict_busy(states[3]),
      .finish_busy(states[2]),
      .swap(states[1]),
      .out_valid(states[0]),
      .out_channel(channel),
      .out_row(row),
      .out_data(data)
  );
endmodule
