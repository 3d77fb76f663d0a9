// Holds the results of a run against what was expected: EXPECTED RESULTS; exit 0 if they are equal.
//
// Both are 64-bit words as bench.cpp writes them. The smallest number stands for any: clocks, pixels beyond outputs.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>

static bool read(const char* name, std::vector<int64_t>& words) {
  std::FILE* file = std::fopen(name, "rb");
  if (!file) return false;
  for (int64_t word; std::fread(&word, sizeof word, 1, file) == 1;) words.push_back(word);
  std::fclose(file);
  return true;
}

int main(int argc, char** argv) {
  std::vector<int64_t> expected, results;
  if (argc != 3 || !read(argv[1], expected) || !read(argv[2], results)) {
    std::fprintf(stderr, "usage: %s EXPECTED RESULTS\n", argv[0]);
    return 2;
  }
  if (expected.size() != results.size()) {
    std::printf("%s: %zu words, expected %zu\n", argv[2], results.size(), expected.size());
    return 1;
  }
  size_t wrong = 0;
  for (size_t i = 0; i < expected.size(); i++)
    wrong += expected[i] != results[i] && expected[i] != std::numeric_limits<int64_t>::min();
  std::printf("%s: %zu of %zu words differ\n", argv[2], wrong, expected.size());
  return wrong != 0;
}
