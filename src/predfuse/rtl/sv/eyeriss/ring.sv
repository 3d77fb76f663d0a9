// A place in a ring of words, so many words further on.
module ring #(
    parameter WORDS = 12,
    parameter ADDRESS = $clog2(WORDS)
) (
    input [ADDRESS-1:0] from,
    input [ADDRESS-1:0] by,
    output [ADDRESS-1:0] to
);
  wire [ADDRESS:0] sum = {1'b0, from} + {1'b0, by};
  wire beyond = sum >= (ADDRESS + 1)'(WORDS);
  assign to = ADDRESS'(beyond ? sum - (ADDRESS + 1)'(WORDS) : sum);
endmodule
