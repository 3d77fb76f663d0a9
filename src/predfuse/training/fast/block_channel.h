// One middle channel of a block forwards: from the inputs to its depthwise output, its statistics, what project reads.

#pragma once

#include "weighted_sums.h"

static const int TOGETHER = 4;   // middle channels that add to a common row in one pass
static const long SKEW = 80;     // values between rows, so that they do not share cache sets

enum Code { LINEAR, RELU, RELU6, GATED };

// Field for field predfuse.training.fast.cpu_block's, which says what they are.
struct Block {
  int64_t images, height, width, kernel, stride, groups, in_pitch, out_pitch, middle, inputs, outputs;
  int64_t first_code, second_code, predicted, surrogate, use_batch;
  double hidden_max, eps, count;
  const float *x, *xq, *inside;
  const float *expand, *expand_shift, *whole_expand, *expand_offset, *hidden_scale;
  const float *depthwise, *whole_depthwise, *depthwise_offset;
  const double *gamma, *beta, *shifted;
  double *mean, *variance;
  const float *project, *expand_width, *depthwise_width;
};

struct Gradients {
  float *x, *xq;
  double *expand, *expand_shift, *whole_expand, *expand_offset;
  double *depthwise, *whole_depthwise, *depthwise_offset;
  double *gamma, *beta, *project;
};

struct SignGradients {
  double *losses, *weights, *expand, *expand_offset, *depthwise, *depthwise_offset;
};

static float low_of(int64_t code) { return code == LINEAR || code == GATED ? -INFINITY : 0; }
static float high_of(int64_t code) { return code == RELU6 ? 6 : INFINITY; }

// One channel of a block and room for what lies between its inputs and outputs.
struct Channel {
  const Block &b;
  long in_line, out_line, in_rows, out_rows, border, bordered, out_bordered, taps, group;
  Row h, q1, a, z1, d, z2;  // hidden value and its quantised form, bordered; normalised expand; scores; depthwise output
  Terms expand, whole_expand, depthwise, whole_depthwise, project;
  long m = 0, done = 0;
  double sum = 0;

  explicit Channel(const Block &block)
      : b(block),
        in_line(b.width * b.images),
        out_line(((b.width - 1) / b.stride + 1) * b.images),
        in_rows(b.height),
        out_rows((b.height - 1) / b.stride + 1),
        border(b.kernel / 2),
        bordered((b.width + 2 * border) * b.images),
        out_bordered(out_line + 2 * border * b.images),
        taps(b.kernel * b.kernel),
        group(b.middle / b.groups),
        h((b.height + 2 * border) * bordered),
        q1(b.predicted ? h.size() : 0),
        a(b.predicted ? in_rows * in_line : 0),
        z1(a.size()),
        d(TOGETHER * (out_rows * out_line + SKEW)),
        z2(b.predicted ? d.size() : 0),
        expand(b.inputs),
        whole_expand(b.inputs),
        depthwise(taps),
        whole_depthwise(taps),
        project(b.outputs) {}

  long first_input() const { return m / group * b.inputs * b.in_pitch; }
  long first_output() const { return m / group * b.outputs * b.out_pitch; }
  float *d_of(long slot) { return d.data() + slot * (out_rows * out_line + SKEW); }
  float *z2_of(long slot) { return z2.data() + slot * (out_rows * out_line + SKEW); }
  long inner(long row) const { return (row + border) * bordered + border * b.images; }

  void expand_line(long r) {
    float *to = h.data() + inner(r);
    const float *x = b.x + r * in_line;
    V low = splat(low_of(b.first_code)), high = splat(high_of(b.first_code));
    if (!b.predicted) {
      combine(x, expand, b.expand_shift[m], in_line,
              [=](long i, V v) INLINED { store(to + i, at_most(at_least(v, low), high)); });
      return;
    }
    float *q = q1.data() + inner(r), *score = z1.data() + r * in_line, *normed = a.data() + r * in_line;
    V scale = splat(b.hidden_scale[m]), top = splat(float(b.hidden_max)), zero = splat(0);
    combine(b.xq + r * in_line, whole_expand, b.expand_offset[m], in_line, [=](long i, V v) INLINED {
      store(score + i, v);
      store(q + i, __builtin_convertvector(__builtin_convertvector(at_most(at_least(v * scale, zero), top), I), V));
    });
    I open = (I){} - int32_t(b.first_code != GATED);
    combine(x, expand, b.expand_shift[m], in_line, [=](long i, V v) INLINED {
      store(normed + i, v);
      store(to + i, keep(open | (load(score + i) > zero), at_most(at_least(v, low), high)));
    });
  }

  // From the inputs to the depthwise output of channel m and the predictor's scores; each(row) after every line of it.
  template <class F>
  void run(long channel, long slot, F each) {
    m = channel, done = 0, sum = 0;
    expand.fill(b.expand + m * b.inputs, b.inputs, first_input(), b.in_pitch);
    fill_taps(depthwise, b.depthwise);
    if (b.predicted) {
      whole_expand.fill(b.whole_expand + m * b.inputs, b.inputs, first_input(), b.in_pitch);
      fill_taps(whole_depthwise, b.whole_depthwise);
    }
    project.fill(b.project + m * b.outputs, b.outputs, first_output(), b.out_pitch);
    long run = b.stride == 1 ? out_line : b.images;
    for (long q = 0; q < out_rows; q++) {
      while (done <= std::min(in_rows - 1, q * b.stride + border)) expand_line(done++);
      V line_sum = splat(0);
      for (long lo = 0; lo < out_line; lo += run) {
        float *to = d_of(slot) + q * out_line + lo;
        const float *inside = b.inside + lo;
        long from = q * b.stride * bordered + lo * b.stride;
        combine(h.data() + from, depthwise, 0, run, [=, &line_sum](long i, V v) INLINED {
          store(to + i, v);
          line_sum += v * load(inside + i);
        });
        if (!b.predicted) continue;
        float *score = z2_of(slot) + q * out_line + lo;
        combine(q1.data() + from, whole_depthwise, b.depthwise_offset[m], run,
                [=](long i, V v) INLINED { store(score + i, v); });
      }
      sum += total(line_sum);
      each(q);
    }
    while (done < in_rows) expand_line(done++);
  }

  void fill_taps(Terms &terms, const float *weights) {
    terms.count = 0;
    for (int t = 0; t < taps; t++)
      if (float w = weights[m * taps + t]) terms.add(t / b.kernel * bordered + t % b.kernel * b.images, w, t);
  }

  void find_statistics(long slot) {
    b.mean[m] = b.shifted[m] * sum / b.count;
    V mean = splat(float(b.mean[m]));
    double squares = 0;
    for (long q = 0; q < out_rows; q++) {
      V part = splat(0);
      for (long i = 0; i < out_line; i += LANES) {
        V distance = (load(d_of(slot) + q * out_line + i) - mean) * load(b.inside + i);
        part += distance * distance;
      }
      squares += total(part);
    }
    b.variance[m] = squares / b.count;
  }

  double deviation() const { return std::sqrt(b.variance[m] + b.eps); }
  V factor() const { return splat(float(b.gamma[m] / deviation())); }
  V shift() const { return splat(float(b.beta[m] - b.mean[m] * (b.gamma[m] / deviation()))); }

  // What project reads of one line, into u.
  void finish_line(long slot, long q, float *u) {
    V scale = factor(), add = shift(), low = splat(low_of(b.second_code)), high = splat(high_of(b.second_code));
    const float *from = d_of(slot) + q * out_line, *score = z2_of(slot) + q * out_line;
    if (b.second_code == GATED)
      for (long i = 0; i < out_line; i += LANES)
        store(u + i, keep(load(score + i) > splat(0), scale * load(from + i) + add));
    else
      for (long i = 0; i < out_line; i += LANES)
        store(u + i, at_most(at_least(scale * load(from + i) + add, low), high));
  }
};

// to[j] += sum over some channels of their weight of j times their row, from rows `from` that lie `pitch` apart.
static void add_together(const float *from, long pitch, const float *weights, long channels, long targets, float *to,
                         long to_pitch, long n, Terms &terms) {
  for (long j = 0; j < targets; j++) {
    terms.count = 0;
    for (int c = 0; c < channels; c++)
      if (float w = weights[c * targets + j]) terms.add(c * pitch, w, c);
    add_terms(from, terms.offset.data(), terms.weight.data(), terms.count, to + j * to_pitch, n);
  }
}
