// The whole: the core, the global buffer, and what moves data between them. A host writes and reads lines of the buffer,
// starts a command list in it and waits.
module machine #(
    parameter TILE_ROWS = 8,
    parameter TILE_COLUMNS = 8,
    parameter LANES = 11,
    parameter LANE_ROWS = 7,
    parameter WORDS = 4,
    parameter LISTS = 2,
    parameter OUTPUTS = 32,
    parameter BANKS = 12,
    parameter SLOTS = 64,
    parameter KERNEL = 3,
    parameter SIDE = 10,
    parameter UNIT_ROWS = 10,
    parameter INPUTS = 16,
    parameter HELD = 32,
    parameter COLUMNS = 32,
    parameter WRITES = 7,
    parameter QUEUE = 8,
    parameter CHANNELS = 768,
    parameter PARTS = 16,
    parameter PASSES = 1024,
    parameter CODES = 2048,
    parameter GATE_WORDS = 284,
    parameter TAP_WORDS = 128,
    parameter COLUMN_WORDS = 256,
    parameter PROJECT_ROWS = 78,
    parameter ACCUMULATOR = 40,
    parameter SUM = 24,
    parameter TOGETHER = 16,
    parameter FINISHED_ROWS = 1,
    parameter ACCESS_ROWS = 1,
    parameter PITCHES = 0,
    parameter DATA = 4624,
    parameter ITEM = 36,
    parameter BUFFER_BANKS = 8,
    parameter BUFFER_PIXELS = 4,
    parameter BUFFER_LINES = 480,
    parameter FILL = 104,
    parameter STORE = 41,
    parameter LINE = BUFFER_BANKS * BUFFER_PIXELS,
    parameter ROW = $clog2(BUFFER_LINES)
) (
    input clk,
    input rst,
    input host_request,
    input host_write,
    input [ROW-1:0] host_row,
    input [16*LINE-1:0] host_data,
    output host_grant,
    output [16*LINE-1:0] host_read_data,  // a cycle after the grant
    input start,
    input [ROW-1:0] start_row,
    output busy,
    // To be watched.
    output [3:0] started,  // lists, predictions, these behind the lists, finishing
    output main_busy,
    output predict_busy,
    output finish_busy,
    output fill_busy,
    output swap,
    output [3:0] waiting  // for a bank: outputs, commands, fill, host
);
  localparam BANK = $clog2(BUFFER_BANKS), SPAN = $clog2(BUFFER_BANKS + 1);
  localparam START = 4 + ITEM + STORE;
  localparam FIELDS = FILL > START ? FILL : START;
  wire [3:0] request, grant;
  wire [4*ROW-1:0] row;
  wire [4*BANK-1:0] bank;
  wire [4*SPAN-1:0] span;
  wire [LINE-1:0] out_write;
  wire [16*LINE-1:0] store_data;
  assign request[3] = host_request;
  assign row[3*ROW+:ROW] = host_row;
  assign {bank[3*BANK+:BANK], bank[BANK+:BANK]} = 0;
  assign {span[3*SPAN+:SPAN], span[SPAN+:SPAN]} = {2{SPAN'(BUFFER_BANKS)}};
  assign host_grant = grant[3];
  assign waiting = request & ~grant;
  global_buffer #(BUFFER_BANKS, BUFFER_PIXELS, BUFFER_LINES) u_buffer (
      .clk(clk),
      .request(request),
      .row(row),
      .bank(bank),
      .span(span),
      .grant(grant),
      .first_write(out_write),
      .first_data(store_data),
      .last_write(host_write),
      .last_data(host_data),
      .read_data(host_read_data)
  );

  wire start_core, start_fill, fill_ready, fill_reads;
  /* verilator lint_off UNUSED */
  wire [FIELDS-1:0] core_fields, fill_fields;  // as wide as the wider
  /* verilator lint_on UNUSED */
  command #(BUFFER_BANKS, BUFFER_PIXELS, BUFFER_LINES, FIELDS) u_command (
      .clk(clk),
      .rst(rst),
      .start(start),
      .start_row(start_row),
      .request(request[1]),
      .row(row[ROW+:ROW]),
      .grant(grant[1]),
      .read_data(host_read_data),
      .core_busy(main_busy | predict_busy | finish_busy),
      .lists_busy(main_busy),
      .finish_busy(finish_busy),
      .fill_ready(fill_ready),
      .fill_reads(fill_reads),
      .fill_busy(fill_busy),
      .start_fill(start_fill),
      .fill_fields(fill_fields),
      .start_core(start_core),
      .core_fields(core_fields),
      .busy(busy)
  );
  wire write;
  wire [4:0] write_region;
  wire [15:0] write_at;
  wire [FINISHED_ROWS-1:0] write_rows;
  wire [DATA-1:0] write_data;
  fill #(
      .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .KERNEL(KERNEL), .SIDE(SIDE), .DATA(DATA),
      .BANKS(BUFFER_BANKS), .PIXELS(BUFFER_PIXELS), .LINES(BUFFER_LINES), .ACCESS_ROWS(ACCESS_ROWS),
      .PITCHES(PITCHES), .FINISHED_ROWS(FINISHED_ROWS)
  ) u_fill (
      .clk(clk),
      .rst(rst),
      .start(start_fill),
      .fields(fill_fields[FILL-1:0]),
      .request(request[2]),
      .row(row[2*ROW+:ROW]),
      .bank(bank[2*BANK+:BANK]),
      .span(span[2*SPAN+:SPAN]),
      .grant(grant[2]),
      .read_data(host_read_data),
      .write(write),
      .write_region(write_region),
      .write_at(write_at),
      .write_rows(write_rows),
      .write_data(write_data),
      .ready(fill_ready),
      .reads(fill_reads),
      .busy(fill_busy)
  );

  assign started = core_fields[3:0] & {4{start_core}};
  wire out_valid;
  wire [15:0] out_channel;
  wire [7:0] out_row;
  wire [FINISHED_ROWS-1:0] out_present;
  wire [16*TILE_COLUMNS*FINISHED_ROWS-1:0] out_data;
  archon #(
      .TILE_ROWS(TILE_ROWS), .TILE_COLUMNS(TILE_COLUMNS), .LANES(LANES), .LANE_ROWS(LANE_ROWS), .WORDS(WORDS), .LISTS(LISTS),
      .OUTPUTS(OUTPUTS), .BANKS(BANKS), .SLOTS(SLOTS), .KERNEL(KERNEL), .SIDE(SIDE), .UNIT_ROWS(UNIT_ROWS),
      .INPUTS(INPUTS), .HELD(HELD), .COLUMNS(COLUMNS), .WRITES(WRITES), .QUEUE(QUEUE), .CHANNELS(CHANNELS), .PARTS(PARTS),
      .PASSES(PASSES), .CODES(CODES), .LINE(LINE), .GATE_WORDS(GATE_WORDS), .TAP_WORDS(TAP_WORDS), .COLUMN_WORDS(COLUMN_WORDS),
      .PROJECT_ROWS(PROJECT_ROWS), .ACCUMULATOR(ACCUMULATOR), .SUM(SUM), .TOGETHER(TOGETHER),
      .FINISHED_ROWS(FINISHED_ROWS), .DATA(DATA), .ITEM(ITEM)
  ) u_core (
      .clk(clk),
      .rst(rst),
      .write(write),
      .write_region(write_region),
      .write_at(write_at),
      .write_rows(write_rows),
      .write_data(write_data),
      .item(core_fields[4+:ITEM]),
      .start_main(started[0]),
      .start_predict(started[1]),
      .behind(started[2]),
      .start_finish(started[3]),
      .several(core_fields[4+ITEM+STORE-1-:2] != 0),
      .main_busy(main_busy),
      .predict_busy(predict_busy),
      .finish_busy(finish_busy),
      .swap(swap),
      .out_valid(out_valid),
      .out_channel(out_channel),
      .out_row(out_row),
      .out_present(out_present),
      .out_data(out_data)
  );
  output_store #(TILE_COLUMNS, BUFFER_BANKS, BUFFER_PIXELS, BUFFER_LINES, FINISHED_ROWS) u_store (
      .clk(clk),
      .rst(rst),
      .fields(core_fields[4+ITEM+:STORE]),
      .valid(out_valid),
      .channel(out_channel),
      .row(out_row),
      .present(out_present),
      .data(out_data),
      .request(request[0]),
      .to_row(row[0+:ROW]),
      .to_bank(bank[0+:BANK]),
      .span(span[0+:SPAN]),
      .write(out_write),
      .write_data(store_data)
  );
endmodule
