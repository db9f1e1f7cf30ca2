// Softmax and norms of rows of 8-bit values, in the 32-bit integers that
// qir/dialects/int8/normalize.py states.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "lanes.h"
#include "requantize.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kTaskBytes = 8192;  // of rows that a thread takes at a time

// Runs act(first row, count) over all rows.
template <typename Act>
void by_rows(const Rows& rows, const Act& act) {
  const int64_t height = std::max<int64_t>(1, kTaskBytes / rows.length);
  parallel_for(ceil_div(rows.count, height), [&](int64_t task) {
    act(task * height, std::min(height, rows.count - task * height));
  });
}

// What each element of a row weighs, by a table of how far below the largest it is, and their sum.
// Of a row that the mask leaves nothing of, all weigh the same.
inline int32_t weigh(const Softmax& s, const uint8_t* x, const uint8_t* mask, int32_t* weights) {
  const int64_t length = s.rows.length;
  const uint8_t flip = s.rows.is_signed ? 0x80 : 0;  // bytes in the order of their values
  uint8_t top = 0;
  int32_t total = 0, left = mask == nullptr;
  if (mask == nullptr) {
    for (int64_t i = 0; i < length; ++i) top = std::max<uint8_t>(top, x[i] ^ flip);
    for (int64_t i = 0; i < length; ++i) total += weights[i] = s.exps[top - (x[i] ^ flip)];
    return total;
  }
  for (int64_t i = 0; i < length; ++i) {
    left |= mask[i];
    if (mask[i]) top = std::max<uint8_t>(top, x[i] ^ flip);
  }
  for (int64_t i = 0; i < length; ++i)
    total += weights[i] = !left ? s.exps[0] : mask[i] ? s.exps[top - (x[i] ^ flip)] : 0;
  return total;
}

inline void softmax_row(const Softmax& s, int64_t row, int32_t* weights) {
  const int64_t length = s.rows.length, start = row * length;
  const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + start;
  const int32_t total = weigh(s, s.rows.x + start, mask, weights), lowest = s.lowest;
  const int32_t reciprocal = total == 0 ? 0 : ((1 << 30) + total / 2) / total;  // as numpy has it
  by_lanes<kLanes>(length, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const I32 share = (load<I32>(weights + i, lanes) * reciprocal + (1 << 21)) >> 22;
    store(narrow((share > 255 ? 255 : share) + lowest), s.y + start + i, lanes);
  });
}

inline void softmax(const Softmax& s) {
  by_rows(s.rows, [&](int64_t first, int64_t count) {
    thread_local std::vector<int32_t> weights;
    weights.resize(s.rows.length);
    for (int64_t row = first; row < first + count; ++row) softmax_row(s, row, weights.data());
  });
}

// The sum of a row's values above a zero point, and that of their squares.
struct Moments {
  int64_t total = 0, squares = 0;

  Moments(const Rows& rows, int64_t row, int32_t zero) {
    const uint8_t* x = rows.x + row * rows.length;
    const auto value = [&](int64_t i) { return (rows.is_signed ? (int8_t)x[i] : x[i]) - zero; };
    I32 sum{}, square{};
    int64_t i = 0;
    for (; i + kLanes <= rows.length; i += kLanes) {
      const I32 q = widened_bytes(x + i, rows.is_signed, kLanes) - zero;
      sum += q, square += q * q;
    }
    for (int64_t k = 0; k < kLanes; ++k) total += sum[k], squares += square[k];
    for (; i < rows.length; ++i) total += value(i), squares += value(i) * value(i);
  }
};

inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// 16 fractional bits, shifted left.
inline int64_t shifted_fraction(int64_t fraction, int shift) { return (fraction << shift) >> 16; }

// What a row is normalized by: ((q - whole) << raised) - offset times inverse, rounded, shifted.
struct Normalizer {
  int32_t whole = 0, raised, offset = 0, inverse;

  Normalizer(const Norm& n, const Moments& m) {
    const int64_t length = n.rows.length;
    int64_t squares = m.squares, rest = 0;
    if (n.has_mean) {
      whole = static_cast<int32_t>(floor_div(2 * m.total + length, 2 * length));
      rest = m.total - whole * length;
      squares += whole * (whole * length - 2 * m.total);
    }
    squares += n.epsilon >> 16;
    const int bits = 64 - __builtin_clzll(std::max<int64_t>(squares, 1));
    raised = (30 - bits) >> 1;
    int64_t spread = (squares << 2 * raised) + shifted_fraction(n.epsilon & 0xFFFF, 2 * raised);
    if (n.has_mean) {
      const int64_t square = rest * rest, part = ((square % length) << 16) / length;
      spread -= (square / length << 2 * raised) + shifted_fraction(part, 2 * raised);
      offset = static_cast<int32_t>(floor_div((rest << (raised + 1)) + length, 2 * length));
    }
    const auto root = static_cast<int64_t>(std::sqrt(std::max<double>(spread, 1)));
    const int64_t reciprocal = ((int64_t{1} << 29) + root / 2) / root;
    inverse = static_cast<int32_t>((reciprocal * n.mantissa + (1 << 14)) >> 15);
  }
};

// gamma times the normalized values of a row; its epilogue adds beta.
inline void normalize(const Norm& n, int64_t row, int32_t* products) {
  const uint8_t* x = n.rows.x + row * n.rows.length;
  const Normalizer by(n, Moments(n.rows, row, n.zero));
  const int32_t zero = n.zero + by.whole, half = 1 << (n.shift - 1);
  by_lanes<kLanes>(n.rows.length, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const I32 q = widened_bytes(x + i, n.rows.is_signed, lanes) - zero;
    const I32 z = (((q << by.raised) - by.offset) * by.inverse + half) >> n.shift;
    store(clamped(z, -(1 << 15), (1 << 15) - 1) * load<I32>(n.gamma + i, lanes), products + i,
          lanes);
  });
}

inline void norm(const Norm& n) {
  const int64_t length = n.rows.length;
  by_rows(n.rows, [&](int64_t first, int64_t count) {
    thread_local std::vector<int32_t> products;
    products.resize(count * length + kLanes);  // whole registers are read
    for (int64_t r = 0; r < count; ++r) normalize(n, first + r, products.data() + r * length);
    finish(n.epilogue, nullptr, Sums{count, length, products.data(), n.beta, nullptr}, 0, length,
           n.y, first * length, length);
  });
}

// A stored byte for each, by a table of 256.
inline void table(const Table& t) {
  constexpr int64_t kPart = 1 << 14;
  parallel_for(ceil_div(t.count, kPart), [&](int64_t task) {
    const int64_t last = std::min(t.count, (task + 1) * kPart);
    looked_up(t.entries, t.x + task * kPart, last - task * kPart, t.y + task * kPart);
  });
}

}  // namespace
}  // namespace qir
