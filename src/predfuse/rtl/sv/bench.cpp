// Test bench: reads words and starts from a file, writes what was measured and what came out.
//
// Input, 32-bit words: an operation is 0 (write: region, bank, index, count, count words of data) or 1 (run: flags).
// Flags: 1 lists, 2 predictions, 4 predictions follow the lists, 8 finishing.
// Output, 64-bit words: for a run cycles of lists, of predictions, count of passes and the cycle each began in, count of
// rows and for each its channel, row and pixels.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "Varchon.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
typedef VerilatedFstC Waves;
#elif VM_TRACE
#include "verilated_vcd_c.h"
typedef VerilatedVcdC Waves;
#endif

static const long LIMIT = 10000000;  // cycles of a run after which the machine is taken to hang

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s WORDS RESULTS [WAVES]\n", argv[0]);
    return 2;
  }
  std::FILE* file = std::fopen(argv[1], "rb");
  if (!file) return 2;
  std::fseek(file, 0, SEEK_END);
  std::vector<int32_t> in(std::ftell(file) / 4);
  std::rewind(file);
  if (std::fread(in.data(), 4, in.size(), file) != in.size()) return 2;
  std::fclose(file);
  std::vector<int64_t> out;
  Verilated::commandArgs(argc, argv);
  Varchon* top = new Varchon;
#if VM_TRACE
  Waves* waves = nullptr;
  uint64_t now = 0;
  if (argc > 3 && argv[3][0] != '+') {
    Verilated::traceEverOn(true);
    waves = new Waves;
    top->trace(waves, 99);
    waves->open(argv[3]);
  }
#endif
  auto step = [&]() {
    top->clk = 1;
    top->eval();
#if VM_TRACE
    if (waves) waves->dump(now++);
#endif
    top->clk = 0;
    top->eval();
#if VM_TRACE
    if (waves) waves->dump(now++);
#endif
  };
  top->write = top->start_main = top->start_predict = top->start_finish = top->behind = 0;
  top->clk = 0;
  top->rst = 1;
  top->eval();
  step();
  step();
  top->rst = 0;
  top->eval();
  for (size_t at = 0; at < in.size();) {
    if (in[at] == 0) {
      top->write = 1;
      top->write_region = in[at + 1];
      top->write_bank = in[at + 2];
      top->write_at = in[at + 3];
      int count = in[at + 4];
      std::memset(&top->write_data, 0, sizeof top->write_data);
      std::memcpy(&top->write_data, &in[at + 5], 4 * count);
      top->eval();
      step();
      top->write = 0;
      at += 5 + count;
      continue;
    }
    int flags = in[at + 1];
    at += 2;
    top->start_main = flags & 1;
    top->start_predict = flags >> 1 & 1;
    top->behind = flags >> 2 & 1;
    top->start_finish = flags >> 3 & 1;
    top->eval();
    step();
    top->start_main = top->start_predict = top->start_finish = 0;
    top->eval();
    int64_t lists = 0, predictions = 0;
    std::vector<int64_t> swaps, rows;
    int64_t count = 0;
    int idle = 0;
    for (long clock = 0; idle < 8; clock++) {  // the pipelines run empty
      if (clock == LIMIT) {
        std::fprintf(stderr, "no end after %ld cycles\n", clock);
        return 3;
      }
      lists += top->main_busy;
      predictions += top->predict_busy;
      if (top->swap) swaps.push_back(clock);
      if (top->out_valid) {
        count++;
        rows.push_back(top->out_channel);
        rows.push_back(top->out_row);
        const int16_t* pixels = reinterpret_cast<const int16_t*>(&top->out_data);
        for (int i = 0; i < TILE_COLUMNS; i++) rows.push_back(pixels[i]);
      }
      idle = top->main_busy || top->predict_busy || top->finish_busy ? 0 : idle + 1;
      step();
    }
    out.push_back(lists);
    out.push_back(predictions);
    out.push_back(swaps.size());
    out.insert(out.end(), swaps.begin(), swaps.end());
    out.push_back(count);
    out.insert(out.end(), rows.begin(), rows.end());
  }
#if VM_TRACE
  if (waves) waves->close();
#endif
  std::FILE* result = std::fopen(argv[2], "wb");
  if (!result) return 2;
  std::fwrite(out.data(), 8, out.size(), result);
  std::fclose(result);
  top->final();
  delete top;
  return 0;
}
