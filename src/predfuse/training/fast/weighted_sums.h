// Sums of weighted rows, a vector at a time, each loop made once for every number of terms up to MOST.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#define INLINED __attribute__((always_inline))
#define INLINE inline INLINED

typedef float V __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t I __attribute__((vector_size(32), aligned(4), may_alias));

static const long LANES = 8;
static const int MOST = 9;       // terms added up without a pass through memory
static const long PIECE = 1024;  // values of a sum of more than MOST terms

typedef std::vector<float> Row;

static INLINE V load(const float *p) { return *(const V *)p; }
static INLINE void store(float *p, V v) { *(V *)p = v; }
static INLINE V splat(float value) { return V{value, value, value, value, value, value, value, value}; }
static INLINE V keep(I mask, V v) { return (V)(mask & (I)v); }
static INLINE V at_least(V v, V low) { return low > v ? low : v; }
static INLINE V at_most(V v, V high) { return high < v ? high : v; }
static INLINE V magnitude(V v) { return (V)((I)v & 0x7fffffff); }
static INLINE double total(V v) {
  return double(((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])));
}

// Weights that are not zero and where their inputs begin.
struct Terms {
  int count = 0;
  std::vector<long> offset;
  std::vector<float> weight;
  std::vector<int> place;

  explicit Terms(long size) : offset(size), weight(size), place(size) {}
  void add(long at, float value, int from) {
    offset[count] = at, weight[count] = value, place[count++] = from;
  }
  void fill(const float *weights, long size, long first, long pitch, bool all = false) {
    count = 0;
    for (int j = 0; j < size; j++)
      if (all || weights[j] != 0) add(first + j * pitch, weights[j], j);
  }
};

template <int K, class F>
static INLINE void combine_some(const float *base, const long *offset, const float *weight, V bias, long n, F f) {
  const float *s[K + 1];
  V w[K + 1];
  for (int k = 0; k < K; k++) s[k] = base + offset[k], w[k] = splat(weight[k]);
  for (long i = 0; i < n; i += LANES) {
    V value = bias;
    for (int k = 0; k < K; k++) value += w[k] * load(s[k] + i);
    f(i, value);
  }
}

#define BY_COUNT(count, call) \
  switch (count) {            \
    case 0: call(0); break;   \
    case 1: call(1); break;   \
    case 2: call(2); break;   \
    case 3: call(3); break;   \
    case 4: call(4); break;   \
    case 5: call(5); break;   \
    case 6: call(6); break;   \
    case 7: call(7); break;   \
    case 8: call(8); break;   \
    default: call(9);         \
  }

static void add_terms(const float *base, const long *offset, const float *weight, int count, float *out, long n) {
  for (int k = 0; k < count; k += MOST) {
#define CALL(K) \
  combine_some<K>(base, offset + k, weight + k, splat(0), n, [=](long i, V v) INLINED { store(out + i, load(out + i) + v); })
    BY_COUNT(std::min(count - k, MOST), CALL)
#undef CALL
  }
}

// f(i, bias + sum_k weight[k] * base[offset[k] + i]) for all i < n, a vector at a time.
template <class F>
static INLINE void combine(const float *base, const Terms &terms, float bias, long n, F f) {
  const long *offset = terms.offset.data();
  const float *weight = terms.weight.data();
  if (terms.count <= MOST) {
#define CALL(K) combine_some<K>(base, offset, weight, splat(bias), n, f)
    BY_COUNT(terms.count, CALL)
#undef CALL
    return;
  }
  float sums[PIECE];
  for (long lo = 0; lo < n; lo += PIECE) {
    long size = std::min(PIECE, n - lo);
    std::fill(sums, sums + size, bias);
    add_terms(base + lo, offset, weight, terms.count, sums, size);
    for (long i = 0; i < size; i += LANES) f(lo + i, load(sums + i));
  }
}

template <int K>
static INLINE void correlate_some(const float *base, const long *offset, const float *values, long n, double *sums) {
  const float *s[K + 1];
  V sum[K + 1];
  for (int k = 0; k < K; k++) s[k] = base + offset[k], sum[k] = splat(0);
  for (long i = 0; i < n; i += LANES) {
    V v = load(values + i);
    for (int k = 0; k < K; k++) sum[k] += v * load(s[k] + i);
  }
  for (int k = 0; k < K; k++) sums[k] += total(sum[k]);
}

// sums[k] += sum_i values[i] * base[offset[k] + i].
static void correlate(const float *base, const Terms &terms, const float *values, long n, double *sums) {
  for (int k = 0; k < terms.count; k += MOST) {
    const long *offset = terms.offset.data() + k;
#define CALL(K) correlate_some<K>(base, offset, values, n, sums + k)
    BY_COUNT(std::min(terms.count - k, MOST), CALL)
#undef CALL
  }
}

template <int K, class F>
static INLINE void exchange_some(const float *base, const long *offset, const float *weight, long n, double *sums, F f) {
  const float *s[K + 1];
  V w[K + 1], sum[K + 1];
  for (int k = 0; k < K; k++) s[k] = base + offset[k], w[k] = splat(weight[k]), sum[k] = splat(0);
  for (long i = 0; i < n; i += LANES) {
    V value = splat(0);
    for (int k = 0; k < K; k++) value += w[k] * load(s[k] + i);
    V v = f(i, value);
    for (int k = 0; k < K; k++) sum[k] += v * load(s[k] + i);
  }
  for (int k = 0; k < K; k++) sums[k] += total(sum[k]);
}

// Both in one pass: what f makes of the combination is correlated with the same terms.
template <class F>
static INLINE void exchange(const float *base, const Terms &terms, long n, double *sums, F f) {
  if (terms.count <= MOST) {
    const long *offset = terms.offset.data();
    const float *weight = terms.weight.data();
#define CALL(K) exchange_some<K>(base, offset, weight, n, sums, f)
    BY_COUNT(terms.count, CALL)
#undef CALL
    return;
  }
  float values[PIECE];
  for (long lo = 0; lo < n; lo += PIECE) {
    long size = std::min(PIECE, n - lo);
    combine(base + lo, terms, 0, size, [&](long i, V value) INLINED { store(values + i, f(lo + i, value)); });
    correlate(base + lo, terms, values, size, sums);
  }
}

static void scatter(const Terms &terms, std::vector<double> &sums, double *out) {
  for (int k = 0; k < terms.count; k++) out[terms.place[k]] += sums[k], sums[k] = 0;
}
