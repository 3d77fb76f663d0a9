// Adds up a sum on its way along a column: what the rows before bring, where they work on the same outputs, and what leaves
// the PE of this row in the same cycle.
module link #(
    parameter ACCUMULATOR = 40
) (
    input joins,  // the row before works on the same outputs
    input above_valid,
    input [ACCUMULATOR-1:0] above,
    input own_valid,
    input [ACCUMULATOR-1:0] own,
    output valid,
    output [ACCUMULATOR-1:0] sum
);
  wire comes = joins & above_valid;
  assign valid = own_valid | comes;
  assign sum = (above & {ACCUMULATOR{comes}}) + (own & {ACCUMULATOR{own_valid}});
endmodule
