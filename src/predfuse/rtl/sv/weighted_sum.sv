// Small numbers times 0, 1, 2 or 4 with a sign, added to a start. Terms are made positive by a constant, which is taken
// off the start.
module weighted_sum #(
    parameter TERMS = 9,
    parameter SCORE = 11
) (
    input [SCORE-1:0] start,
    input [5*TERMS-1:0] values,  // signed
    input [3*TERMS-1:0] weights,  // 0 none, 1 to 3: 1, 2, 4; and the sign
    output reg [SCORE-1:0] sum
);
  reg signed [4:0] value;
  reg [6:0] term;
  integer i;
  always @* begin
    sum = start - SCORE'(64 * TERMS);
    value = 0;
    term = 0;
    for (i = 0; i < TERMS; i = i + 1) begin
      value = values[5*i+:5];
      case (weights[3*i+:2])
        2'd0: term = 0;
        2'd1: term = {{2{value[4]}}, value};
        2'd2: term = {value[4], value, 1'b0};
        default: term = {value, 2'b0};
      endcase
      term = term ^ {7{weights[3*i+2]}};
      sum = sum + SCORE'({~term[6], term[5:0]}) + SCORE'(weights[3*i+2]);
    end
  end
endmodule
