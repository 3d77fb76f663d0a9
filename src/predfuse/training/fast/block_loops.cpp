// Forward, backward and layer-wise loss of one bottleneck block, a middle channel at a time.
//
// A middle channel touches no other between expand and project: its expand, norms, gates and depthwise filter run on
// data that stays in the cache, and weights that are zero cost nothing. Arrays are rows [channels, pitch]: one channel
// after another, its pixels line by line, each with the values of all images (padded to whole vectors with images of
// zeros), so that a tap of a filter is a whole number of vectors away. What a channel needs between is in rows of the
// same kind with a border of zeros. The order of every sum is written here: no option of the compiler changes it.
//
// Scores of predictors are sums of small integers, exact in 32-bit floats whatever their order.

#include "block_channel.h"

// rows[c][p][n] = x[n][p][c]: images channels last, of so many pixels, to rows; padding is left as it is.
extern "C" void flatten(const float *x, float *rows, int64_t images, int64_t padded, int64_t pixels, int64_t channels,
                        int64_t pitch) {
  for (long p = 0; p < pixels; p++)
    for (long first = 0; first < channels; first += 16)
      for (long n = 0; n < images; n++)
        for (long c = first; c < std::min<long>(first + 16, channels); c++)
          rows[c * pitch + p * padded + n] = x[(n * pixels + p) * channels + c];
}

// The reverse.
extern "C" void unflatten(const float *rows, float *x, int64_t images, int64_t padded, int64_t pixels, int64_t channels,
                          int64_t pitch) {
  for (long p = 0; p < pixels; p++)
    for (long first = 0; first < channels; first += 16)
      for (long n = 0; n < images; n++)
        for (long c = first; c < std::min<long>(first + 16, channels); c++)
          x[(n * pixels + p) * channels + c] = rows[c * pitch + p * padded + n];
}

// Some middle channels that share a group.
template <class F>
static void for_slots(const Block &b, long first_group, long last_group, F f) {
  long group = b.middle / b.groups;
  for (long g = first_group; g < last_group; g++)
    for (long first = g * group; first < (g + 1) * group; first += TOGETHER)
      f(g, first, std::min<long>(TOGETHER, (g + 1) * group - first));
}

// Fills y [O, out_pitch], zero before, and the batch's statistics; pixels of images that only pad mean nothing.
extern "C" void forward(const Block *block, float *y, int64_t first_group, int64_t last_group) {
  const Block &b = *block;
  Channel c(b);
  long pitch = c.out_line + SKEW;
  Row u(TOGETHER * pitch);
  Terms terms(TOGETHER);
  for_slots(b, first_group, last_group, [&](long g, long first, long count) {
    for (long slot = 0; slot < count; slot++) {
      c.run(first + slot, slot, [](long) {});
      if (b.use_batch) c.find_statistics(slot);
    }
    for (long q = 0; q < c.out_rows; q++) {
      for (long slot = 0; slot < count; slot++) c.m = first + slot, c.finish_line(slot, q, u.data() + slot * pitch);
      float *to = y + g * b.outputs * b.out_pitch + q * c.out_line;
      add_together(u.data(), pitch, b.project + first * b.outputs, count, b.outputs, to, b.out_pitch, c.out_line, terms);
    }
  });
}

// The way back of one channel at a time.
struct Backward {
  const Block &b;
  const Gradients &found;
  const float *y;
  Channel c;
  long pitch;                  // between the rows of some channels' gradients
  Row of_normed, of_d, of_z2;  // of the normalised depthwise output; of that output and the second score, bordered
  Row of_a, of_z1;             // of the normalised expand and the first score, a row a channel
  std::vector<double> sums, tap_sums;
  std::vector<Terms> taps, whole_taps;  // by phases of the stride

  Backward(const Block &block, const Gradients &gradients, const float *outputs)
      : b(block),
        found(gradients),
        y(outputs),
        c(b),
        pitch(c.in_rows * c.in_line + SKEW),
        of_normed(c.out_rows * c.out_line),
        of_d((c.out_rows + 2 * c.border) * c.out_bordered),
        of_z2(b.surrogate ? of_d.size() : 0),
        of_a(TOGETHER * pitch),
        of_z1(b.surrogate ? TOGETHER * pitch : 0),
        sums(std::max(b.inputs, b.outputs)),
        tap_sums(c.taps),
        taps(b.stride * b.stride, Terms(c.taps)),
        whole_taps(taps) {}

  long inner(long row) const { return (row + c.border) * c.out_bordered + c.border * b.images; }

  void channel(long m, long slot) {
    double sum_g = 0, sum_gd = 0, sum_z2 = 0;
    c.run(m, 0, [&](long q) { back_project(q, sum_g, sum_gd, sum_z2); });
    scatter(c.project, sums, found.project + m * b.outputs);
    double deviation = c.deviation(), scale = b.gamma[m] / deviation;
    found.beta[m] = sum_g;
    found.gamma[m] = (sum_gd - b.mean[m] * sum_g) / deviation;
    if (b.surrogate) found.depthwise_offset[m] = sum_z2;
    double c1 = b.shifted[m] * sum_g / b.count, c2 = found.gamma[m] / b.count;
    V factor = c.factor(), constant = splat(0), slope = splat(0);
    if (b.use_batch) {
      slope = splat(float(scale * c2 / deviation));
      constant = splat(float(scale * (c1 - b.mean[m] * c2 / deviation)));
    }
    fill_phases(taps, b.depthwise + m * c.taps, false);
    if (b.surrogate) fill_phases(whole_taps, b.whole_depthwise + m * c.taps, true);
    double sum_a = 0, sum_z1 = 0;
    long ready = 0;
    for (long r = 0; r < c.in_rows; r++) {
      for (; ready <= std::min(c.out_rows - 1, (r + c.border) / b.stride); ready++) {
        const float *d = c.d_of(0) + ready * c.out_line, *g = of_normed.data() + ready * c.out_line;
        float *to = of_d.data() + inner(ready);
        for (long i = 0; i < c.out_line; i += LANES)
          store(to + i, factor * load(g + i) - load(b.inside + i) * (constant + slope * load(d + i)));
      }
      float *of_line = of_a.data() + slot * pitch + r * c.in_line;
      float *of_score = b.surrogate ? of_z1.data() + slot * pitch + r * c.in_line : nullptr;
      back_filter(r, of_line, of_score, sum_a, sum_z1);
      correlate(b.x + r * c.in_line, c.expand, of_line, c.in_line, sums.data());
    }
    scatter(c.expand, sums, found.expand + m * b.inputs);
    found.expand_shift[m] = sum_a;
    if (!b.surrogate) return;
    found.expand_offset[m] = sum_z1;
    c.whole_expand.fill(b.whole_expand + m * b.inputs, b.inputs, c.first_input(), b.in_pitch, true);
    for (long r = 0; r < c.in_rows; r++)
      correlate(b.xq + r * c.in_line, c.whole_expand, of_z1.data() + slot * pitch + r * c.in_line, c.in_line,
                sums.data());
    scatter(c.whole_expand, sums, found.whole_expand + m * b.inputs);
  }

  // From a line of the outputs' gradients to that of the normalised depthwise output and of the second score.
  void back_project(long q, double &sum_g, double &sum_gd, double &sum_z2) {
    const float *d = c.d_of(0) + q * c.out_line, *score = c.z2_of(0) + q * c.out_line;
    float *to = of_normed.data() + q * c.out_line;
    V factor = c.factor(), shift = c.shift(), zero = splat(0), g_part = zero, gd_part = zero, z_part = zero;
    if (b.second_code == GATED) {
      float *of_score = b.surrogate ? of_z2.data() + inner(q) : nullptr;
      V inverse = splat(b.surrogate ? float(1 / b.depthwise_width[c.m]) : 0.0f), one = splat(1);
      exchange(y + q * c.out_line, c.project, c.out_line, sums.data(), [&](long i, V gu) INLINED {
        V z = load(score + i), at = load(d + i), value = factor * at + shift;
        I on = z > zero;
        V g = keep(on, gu);
        store(to + i, g);
        g_part += g, gd_part += g * at;
        if (of_score) {
          V gz = at_least(one - magnitude(z * inverse), zero) * inverse * gu * value;
          store(of_score + i, gz);
          z_part += gz;
        }
        return keep(on, value);
      });
      sum_z2 += total(z_part);
    } else {
      V low = splat(low_of(b.second_code)), high = splat(high_of(b.second_code));
      exchange(y + q * c.out_line, c.project, c.out_line, sums.data(), [&](long i, V gu) INLINED {
        V at = load(d + i), value = factor * at + shift;
        V g = keep((value > low) & (value < high), gu);
        store(to + i, g);
        g_part += g, gd_part += g * at;
        return at_most(at_least(value, low), high);
      });
    }
    sum_g += total(g_part), sum_gd += total(gd_part);
  }

  // The taps that read inputs, by the phases of their line and column in the stride; offsets are those of the first.
  void fill_phases(std::vector<Terms> &phases, const float *weights, bool all) {
    for (long phase = 0; phase < b.stride * b.stride; phase++) {
      Terms &terms = phases[phase];
      terms.count = 0;
      for (int t = 0; t < c.taps; t++) {
        long down = phase / b.stride + c.border - t / b.kernel, along = phase % b.stride + c.border - t % b.kernel;
        if ((!all && weights[t] == 0) || down % b.stride || along % b.stride) continue;
        long at = (down / b.stride + c.border) * c.out_bordered + (along / b.stride + c.border) * b.images;
        terms.add(at, weights[t], t);
      }
    }
  }

  // f(terms, from, lo, n) for all runs of a line of inputs: theirs lo to lo + n, and from, the outputs that read them.
  template <class F>
  INLINE void for_runs(const std::vector<Terms> &phases, const Row &outputs, long r, double *out, F f) {
    long run = b.stride == 1 ? c.in_line : b.images;
    const float *line = outputs.data() + r / b.stride * c.out_bordered;
    for (long phase = 0; phase < std::min<long>(b.stride, b.width); phase++) {
      const Terms &terms = phases[r % b.stride * b.stride + phase];
      for (long lo = phase * b.images, at = 0; lo < c.in_line; lo += run * b.stride, at += run)
        f(terms, line + at, lo, run);
      scatter(terms, tap_sums, out);
    }
  }

  // From the gradient of the second score through its filter and the hidden quantiser: a line of the first score's.
  void back_hidden(long r, const Row &of_second, float *of_score, double *out) {
    const float *q1 = c.q1.data() + c.inner(r), *z1 = c.z1.data() + r * c.in_line;
    V zero = splat(0), hidden = splat(b.hidden_scale[c.m]), limit = splat(float(b.hidden_max + 1));
    for_runs(whole_taps, of_second, r, out, [&](const Terms &terms, const float *from, long lo, long n) INLINED {
      exchange(from, terms, n, tap_sums.data(), [&](long i, V gq) INLINED {
        V scaled = load(z1 + lo + i) * hidden;
        store(of_score + lo + i, keep((scaled >= zero) & (scaled < limit), gq * hidden));
        return load(q1 + lo + i);
      });
    });
  }

  // Through the depthwise filter and the first activation: a line of the normalised expand's gradient and the score's.
  void back_filter(long r, float *of_line, float *of_score, double &sum_a, double &sum_z1) {
    const float *h = c.h.data() + c.inner(r);
    const float *a = c.a.data() + r * c.in_line, *z1 = c.z1.data() + r * c.in_line;
    V zero = splat(0), one = splat(1), part = zero, z_part = zero;
    V low = splat(low_of(b.first_code)), high = splat(high_of(b.first_code));
    bool gated = b.first_code == GATED;
    V inverse = splat(gated && b.surrogate ? float(1 / b.expand_width[c.m]) : 0.0f);
    if (b.surrogate) back_hidden(r, of_z2, of_score, found.whole_depthwise + c.m * c.taps);
    double *out = found.depthwise + c.m * c.taps;
    if (!b.predicted)
      for_runs(taps, of_d, r, out, [&](const Terms &terms, const float *from, long lo, long n) INLINED {
        exchange(from, terms, n, tap_sums.data(), [&](long i, V g) INLINED {
          V value = load(h + lo + i);
          g = keep((value > low) & (value < high), g);
          store(of_line + lo + i, g);
          part += g;
          return value;
        });
      });
    else
      for_runs(taps, of_d, r, out, [&](const Terms &terms, const float *from, long lo, long n) INLINED {
        exchange(from, terms, n, tap_sums.data(), [&](long i, V g) INLINED {
          V value = load(h + lo + i), z = load(z1 + lo + i);
          if (of_score) {
            V bump = at_least(one - magnitude(z * inverse), zero) * inverse;
            V gz = load(of_score + lo + i) + bump * g * load(a + lo + i);
            store(of_score + lo + i, gz);
            z_part += gz;
          }
          g = gated ? keep(z > zero, g) : keep((value > low) & (value < high), g);
          store(of_line + lo + i, g);
          part += g;
          return value;
        });
      });
    sum_a += total(part), sum_z1 += total(z_part);
  }
};

// Gradients of forward, all zero before, from those of the outputs, y; what forward computed is computed again, which
// is cheaper than keeping it. That of x lacks what goes through the statistics of the expand norm.
extern "C" void backward(const Block *block, const float *y, const Gradients *gradients, int64_t first_group,
                         int64_t last_group) {
  const Block &b = *block;
  const Gradients &found = *gradients;
  Backward back(b, found, y);
  long pitch = back.pitch, length = back.c.in_rows * back.c.in_line;
  Terms terms(TOGETHER);
  for_slots(b, first_group, last_group, [&](long g, long first, long count) {
    for (long slot = 0; slot < count; slot++) back.channel(first + slot, slot);
    long to = g * b.inputs * b.in_pitch, weights = first * b.inputs;
    for (long lo = 0; lo < length; lo += PIECE) {
      long n = std::min(PIECE, length - lo);
      add_together(back.of_a.data() + lo, pitch, b.expand + weights, count, b.inputs, found.x + to + lo, b.in_pitch, n,
                   terms);
      if (b.surrogate)
        add_together(back.of_z1.data() + lo, pitch, b.whole_expand + weights, count, b.inputs, found.xq + to + lo,
                     b.in_pitch, n, terms);
    }
  });
}

// Logistic loss of predicting target > 0 by slope * (score - 0.5) > 0, weighted by |target|, and its gradient by the
// score; adds sums of the loss and of the weights. Score is a whole number.
static void sign_loss(const float *score, const float *target, const float *inside, float slope, float *gradient, long n,
                      double &loss, double &weights) {
  V half = splat(0.5f), one = splat(1), k = splat(slope), zero = splat(0), losses = zero, sum = zero;
  for (long i = 0; i < n; i += LANES) {
    V margin = (load(score + i) - half) * k;
    // e = exp(-|margin|) = 2**f * 2**whole, f within half of 0
    V y = at_least(-magnitude(margin) * splat(1.4426950408889634f), splat(-120));
    I whole = __builtin_convertvector(y - half, I);
    V f = y - __builtin_convertvector(whole, V);
    V power = splat(1.5403530e-4f) * f + splat(1.3333558e-3f);
    power = power * f + splat(9.6181291e-3f);
    power = power * f + splat(5.5504109e-2f);
    power = power * f + splat(0.24022651f);
    power = power * f + splat(0.69314718f);
    V e = (power * f + one) * (V)((whole + 127) << 23);
    V value = load(target + i) * load(inside + i), weight = magnitude(value);
    V sign = value > zero ? one : -one, wrong = -margin * sign, ratio = one / (one + e);
    store(gradient + i, -sign * k * weight * (wrong > zero ? ratio : e * ratio));
    V t = e / (splat(2) + e), s = t * t;  // log(1 + e) = 2 * artanh(t)
    V series = s * splat(1 / 11.0f) + splat(1 / 9.0f);
    series = series * s + splat(1 / 7.0f);
    series = series * s + splat(1 / 5.0f);
    series = series * s + splat(1 / 3.0f);
    losses += (at_least(wrong, zero) + splat(2) * t * (series * s + one)) * weight;
    sum += weight;
  }
  loss += total(losses), weights += total(sum);
}

static double summed(const float *values, long n) {
  V sum = splat(0);
  for (long i = 0; i < n; i += LANES) sum += load(values + i);
  return total(sum);
}

// Both stages' sign losses of a block with a predictor under its true masks, their gradients, and what project puts out
// (y, zero before). Sums by channel, not yet over the sums of weights; the codes are those of its activations.
extern "C" void layerwise(const Block *block, float *y, const SignGradients *gradients, int64_t first_group,
                          int64_t last_group) {
  const Block &b = *block;
  const SignGradients &found = *gradients;
  Gradients none{};
  Backward back(b, none, nullptr);
  Channel &c = back.c;
  Row u(c.out_line), of_z1(c.in_line), through(c.in_line);
  Row &of_z2 = back.of_d;
  std::vector<double> first_sums(b.inputs), second_sums(b.inputs);
  for (long m = first_group * c.group; m < last_group * c.group; m++) {
    c.run(m, 0, [](long) {});
    float first_slope = float(4 / b.expand_width[m]), second_slope = float(4 / b.depthwise_width[m]);
    for (long q = 0; q < c.out_rows; q++) {
      float *of_line = of_z2.data() + back.inner(q);
      c.finish_line(0, q, u.data());
      for (int k = 0; k < c.project.count; k++)
        add_terms(u.data(), std::vector<long>(1).data(), &c.project.weight[k], 1,
                  y + c.project.offset[k] + q * c.out_line, c.out_line);
      const float *d = c.d_of(0) + q * c.out_line;
      V factor = c.factor(), shift = c.shift();
      for (long i = 0; i < c.out_line; i += LANES) store(u.data() + i, factor * load(d + i) + shift);
      sign_loss(c.z2_of(0) + q * c.out_line, u.data(), b.inside, second_slope, of_line, c.out_line,
                found.losses[2 * m + 1], found.weights[2 * m + 1]);
      found.depthwise_offset[m] += summed(of_line, c.out_line);
    }
    c.whole_expand.fill(b.whole_expand + m * b.inputs, b.inputs, c.first_input(), b.in_pitch, true);
    back.fill_phases(back.whole_taps, b.whole_depthwise + m * c.taps, true);
    for (long r = 0; r < c.in_rows; r++) {
      sign_loss(c.z1.data() + r * c.in_line, c.a.data() + r * c.in_line, b.inside, first_slope, of_z1.data(), c.in_line, found.losses[2 * m],
                found.weights[2 * m]);
      back.back_hidden(r, of_z2, through.data(), found.depthwise + m * c.taps);
      correlate(b.xq + r * c.in_line, c.whole_expand, of_z1.data(), c.in_line, first_sums.data());
      correlate(b.xq + r * c.in_line, c.whole_expand, through.data(), c.in_line, second_sums.data());
      found.expand_offset[2 * m] += summed(of_z1.data(), c.in_line);
      found.expand_offset[2 * m + 1] += summed(through.data(), c.in_line);
    }
    scatter(c.whole_expand, first_sums, found.expand + 2 * m * b.inputs);
    scatter(c.whole_expand, second_sums, found.expand + (2 * m + 1) * b.inputs);
  }
}
