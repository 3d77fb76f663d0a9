// The host: writes images into the global buffer, starts their command lists, waits, and reads the outputs.
//
// Input, 32-bit words: of every image the line of its command list, how many lines it has (from line 1 on), the first line of
// its outputs and how many they are; its lines follow.
// Output, 64-bit words, of every image: count of starts of the core; of each where the cycles before its command went, cycles of
// lists, of predictions, count of passes and the cycle each began in. Then where all cycles of the image went: count, those in
// which the core works, those in which memories are filled, those of both, those in which outputs, commands and fills waited for
// a bank. Then count of pixels, and these.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "Vmachine.h"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
typedef VerilatedFstC Waves;
#elif VM_TRACE
#include "verilated_vcd_c.h"
typedef VerilatedVcdC Waves;
#endif

static long limit = 50000000;  // cycles of an image after which the machine is taken to hang; +limit=N is another

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s IMAGES RESULTS [WAVES]\n", argv[0]);
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
  for (int i = 3; i < argc; i++)
    if (!std::strncmp(argv[i], "+limit=", 7)) limit = std::atol(argv[i] + 7);
  Vmachine* top = new Vmachine;
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
  top->host_request = top->host_write = top->start = 0;
  top->clk = 0;
  top->rst = 1;
  top->eval();
  step();
  step();
  top->rst = 0;
  top->eval();
  const size_t width = LINE_PIXELS * 2 / 4;  // 32-bit words of a line
  for (size_t at = 0; at < in.size();) {
    const int32_t start = in[at], lines = in[at + 1], first = in[at + 2], count = in[at + 3];
    at += 4;
    top->host_request = top->host_write = 1;
    for (int line = 1; line <= lines; line++, at += width) {
      top->host_row = line;
      std::memcpy(&top->host_data, &in[at], 4 * width);
      top->eval();
      step();  // nothing else runs: it is granted at once
    }
    top->host_request = top->host_write = 0;
    top->start = 1;
    top->start_row = start;
    top->eval();
    step();
    top->start = 0;
    top->eval();
    struct Start { std::vector<int64_t> before; int64_t lists = 0, predictions = 0; std::vector<int64_t> begins; };
    std::vector<Start> starts;
    int64_t core = 0, fill = 0, both = 0, waiting[3] = {0, 0, 0};
    long clock = 0, begun = 0;
    for (; top->busy; clock++) {
      if (clock == limit) {
        std::fprintf(stderr, "no end after %ld cycles\n", clock);
        return 3;
      }
      if (!starts.empty()) {
        starts.back().lists += top->main_busy;
        starts.back().predictions += top->predict_busy;
        if (top->swap) starts.back().begins.push_back(clock - begun);
      }
      if (top->started) {
        starts.emplace_back();
        starts.back().before = {int64_t(clock) - 2, core, fill, both, waiting[0], waiting[1], waiting[2]};
        begun = clock + 1;
      }
      const bool works = top->main_busy || top->predict_busy || top->finish_busy;
      core += works;
      fill += top->fill_busy;
      both += works && top->fill_busy;
      for (int client = 0; client < 3; client++) waiting[client] += top->waiting >> client & 1;
      step();
    }
    out.push_back(starts.size());
    for (const Start& one : starts) {
      out.insert(out.end(), one.before.begin(), one.before.end());
      out.push_back(one.lists);
      out.push_back(one.predictions);
      out.push_back(one.begins.size());
      out.insert(out.end(), one.begins.begin(), one.begins.end());
    }
    for (int64_t one : {int64_t(clock), core, fill, both, waiting[0], waiting[1], waiting[2]}) out.push_back(one);
    out.push_back(int64_t(count) * LINE_PIXELS);
    for (int line = first; line < first + count; line++) {
      top->host_request = 1;
      top->host_row = line;
      top->eval();
      step();
      const int16_t* pixels = reinterpret_cast<const int16_t*>(&top->host_read_data);
      out.insert(out.end(), pixels, pixels + LINE_PIXELS);
    }
    top->host_request = 0;
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
