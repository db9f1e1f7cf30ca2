// Max and average pools of 8-bit values, as nn.max_pool and int8.avg_pool mean them. Lanes are
// channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kernels.h"
#include "threads.h"

namespace qir {
namespace {

// Where a window lies inside the image, along one axis.
struct Inside {
  int64_t first, last;

  Inside(const Windows& w, int axis, int64_t at)
      : first(at * w.stride[axis] - w.before[axis]), last(first + w.kernel[axis]) {
    first = std::max<int64_t>(first, 0);
    last = std::min(last, axis == 0 ? w.height : w.width);
  }
};

// Calls act(y, rows, columns, image) for each window, a row of the result a task.
template <typename Act>
void by_windows(const Windows& w, uint8_t* y, const Act& act) {
  parallel_for(w.n * w.out_height, [&](int64_t task) {
    const Inside rows(w, 0, task % w.out_height);
    uint8_t* to = y + task * w.out_width * w.channels;
    for (int64_t x = 0; x < w.out_width; ++x, to += w.channels)
      act(to, rows, Inside(w, 1, x), task / w.out_height * w.height * w.width * w.channels);
  });
}

template <typename Number>
inline void raise(Number* __restrict to, const Number* __restrict from, int64_t count) {
  for (int64_t c = 0; c < count; ++c) to[c] = std::max(to[c], from[c]);
}

template <typename Number>
void max_pool(const Windows& w, const Pool& pool) {
  by_windows(w, pool.y, [&](uint8_t* y, Inside rows, Inside columns, int64_t image) {
    const auto* x = reinterpret_cast<const Number*>(pool.x) + image;
    auto* to = reinterpret_cast<Number*>(y);
    std::copy_n(x + (rows.first * w.width + columns.first) * w.channels, w.channels, to);
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t j = columns.first; j < columns.last; ++j)
        raise(to, x + (i * w.width + j) * w.channels, w.channels);
  });
}

template <typename Number>
inline void add(int32_t* __restrict to, const Number* __restrict from, int64_t count) {
  for (int64_t c = 0; c < count; ++c) to[c] += from[c];
}

// Sums divided by how many there are, rounded half away from zero. The quotient of two integers of
// 32 bits as a double is never rounded up to the next one.
inline void divide(const int32_t* __restrict sums, int64_t elements, const Pool& pool,
                   int64_t channels, uint8_t* __restrict y) {
  const int32_t half = static_cast<int32_t>(elements / 2);
  const auto divisor = static_cast<double>(elements);
  for (int64_t c = 0; c < channels; ++c) {
    const auto mean = static_cast<int32_t>((std::abs(sums[c]) + half) / divisor);
    y[c] = static_cast<uint8_t>(std::clamp(sums[c] < 0 ? -mean : mean, pool.low, pool.high));
  }
}

template <typename Number>
void average_pool(const Windows& w, const Pool& pool) {
  by_windows(w, pool.y, [&](uint8_t* y, Inside rows, Inside columns, int64_t image) {
    thread_local std::vector<int32_t> sums;
    sums.assign(w.channels, 0);
    const auto* x = reinterpret_cast<const Number*>(pool.x) + image;
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t j = columns.first; j < columns.last; ++j)
        add(sums.data(), x + (i * w.width + j) * w.channels, w.channels);
    const int64_t inside = std::max<int64_t>(0, rows.last - rows.first) *
                           std::max<int64_t>(0, columns.last - columns.first);
    divide(sums.data(), std::max<int64_t>(1, inside), pool, w.channels, y);
  });
}

inline void pool(const Windows& w, const Pool& pool) {
  if (pool.is_max)
    pool.is_signed ? max_pool<int8_t>(w, pool) : max_pool<uint8_t>(w, pool);
  else
    pool.is_signed ? average_pool<int8_t>(w, pool) : average_pool<uint8_t>(w, pool);
}

}  // namespace
}  // namespace qir
