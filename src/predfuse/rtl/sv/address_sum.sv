// Adds two addresses of the global buffer, a line and a bank in it each; banks need not be a power of two.
module address_sum #(
    parameter BANKS = 8,
    parameter ROW = 9,
    parameter BANK = $clog2(BANKS)
) (
    input [ROW-1:0] row,
    input [BANK-1:0] bank,
    input [ROW-1:0] more_rows,
    input [BANK-1:0] more_banks,
    output [ROW-1:0] sum_row,
    output [BANK-1:0] sum_bank
);
  wire [BANK:0] total = (BANK + 1)'(bank) + (BANK + 1)'(more_banks);
  wire carry = total >= (BANK + 1)'(BANKS);
  assign sum_bank = BANK'(carry ? total - (BANK + 1)'(BANKS) : total);
  assign sum_row = row + more_rows + ROW'(carry);
endmodule
