// A depthwise convolution: each channel by its own filters, a sum over the taps of the window.
//
// Lanes are channels. Some columns of the result are summed up side by side, so that a filter is
// read once for all of them and their sums do not wait for each other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels.h"
#include "lanes.h"
#include "requantize.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kSide = 6;  // columns at a time

template <typename Number>
struct Taps {
  const Windows& w;
  const Depthwise& d;
  int64_t taps = w.kernel[0] * w.kernel[1];

  // Where the windows of a row of the result read their taps, [taps, out_width]. Taps outside the
  // image read `fill`.
  void find(int64_t image, int64_t oy, const Number* fill, const Number** at) const {
    const Number* x = reinterpret_cast<const Number*>(d.x) + image * w.height * w.width * w.channels;
    const int64_t step = w.stride[1] * w.channels;
    for (int64_t i = 0; i < w.kernel[0]; ++i) {
      const int64_t y = oy * w.stride[0] - w.before[0] + i * w.dilation[0];
      const int64_t width = y >= 0 && y < w.height ? w.width : 0;
      for (int64_t j = 0; j < w.kernel[1]; ++j, at += w.out_width) {
        const int64_t left = w.before[1] - j * w.dilation[1];  // columns that lie before the image
        const auto until = [&](int64_t column) {
          return std::clamp<int64_t>(ceil_div(column + left, w.stride[1]), 0, w.out_width);
        };
        const int64_t first = until(0), last = std::max(first, until(width));
        const Number* from = x + (y * w.width + first * w.stride[1] - left) * w.channels;
        std::fill(at, at + first, fill);
        for (int64_t ox = first; ox < last; ++ox, from += step) at[ox] = from;
        std::fill(at + last, at + w.out_width, fill);
      }
    }
  }

  // Channels [first, first + lanes) of what one tap of a window reads.
  template <typename Lanes>
  QIR_INLINED I32 seen(const Number* at, int64_t first, Lanes lanes) const {
    using Numbers = std::conditional_t<std::is_signed_v<Number>, SignedBytes, Bytes>;
    return widened(load<Numbers>(at + first, lanes));
  }

  // kCount windows side by side, whose taps are at `at`.
  template <int kCount, typename Lanes>
  QIR_INLINED void sum(const Number* const* at, int64_t first, Lanes lanes,
                       int32_t (*sums)[kLanes]) const {
    I32 acc[kCount] = {};
    const int16_t* filter = d.w + first;
    for (int64_t t = 0; t < taps; ++t, filter += w.outputs, at += w.out_width) {
      const I32 by = widened(load<I16>(filter, lanes)) & 0xFFFF;
#pragma GCC unroll 8  // so that the sums are registers
      for (int c = 0; c < kCount; ++c) acc[c] += times(seen(at[c], first, lanes), by);
    }
#pragma GCC unroll 8
    for (int c = 0; c < kCount; ++c) store(acc[c], sums[c], kLanes);
  }

  void row(int64_t image, int64_t oy) const {
    thread_local std::vector<const Number*> at;
    thread_local std::vector<Number> fill;
    at.resize(w.out_width * taps);
    fill.assign(w.channels, static_cast<Number>(d.reals == nullptr ? d.fill
                                                                   : d.reals->image_zero[image]));
    find(image, oy, fill.data(), at.data());
    const int64_t place = (image * w.out_height + oy) * w.out_width * w.outputs;
    by_lanes<kLanes>(w.outputs, [&](int64_t first, auto lanes) {
      alignas(64) int32_t sums[kSide][kLanes];
      for (int64_t ox = 0; ox < w.out_width; ox += kSide) {
        const int64_t count = std::min(kSide, w.out_width - ox);
        const Number* const* here = at.data() + ox;
        if (count == kSide)
          sum<kSide>(here, first, lanes, sums);
        else
          for (int64_t c = 0; c < count; ++c) sum<1>(here + c, first, lanes, sums + c);
        write({count, kLanes, sums[0], d.bias + first, nullptr}, image, first, lanes,
              place + ox * w.outputs + first);
      }
    });
  }

  template <typename Lanes>
  QIR_INLINED void write(const Sums& sums, int64_t image, int64_t first, Lanes lanes,
                         int64_t place) const {
    if (d.reals == nullptr)
      finish(d.epilogue, nullptr, sums, first, lanes, d.y, place, w.outputs);
    else
      finish(*d.reals, sums, first, lanes, place, w.outputs, [&](int64_t) { return image; });
  }

  void run() const {
    parallel_for(w.n * w.out_height, [&](int64_t task) {
      row(task / w.out_height, task % w.out_height);
    });
  }
};

template <int64_t kTimes>
inline void repeat(const uint8_t* __restrict from, int64_t count, uint8_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < kTimes; ++j) to[kTimes * i + j] = from[i];
}

// Each byte some times, one behind the other; by loops that become vectors for the usual numbers.
inline void repeat(const uint8_t* from, int64_t count, int64_t times, uint8_t* to) {
  if (times == 2) return repeat<2>(from, count, to);
  if (times == 3) return repeat<3>(from, count, to);
  if (times == 4) return repeat<4>(from, count, to);
  for (int64_t i = 0; i < count; ++i, to += times) std::fill_n(to, times, from[i]);
}

// Runs a layer, whose filters may be several for a channel: on a copy of x, as often as there are.
template <typename Layer>
void with_one_filter(const Windows& w, const Depthwise& d, const Layer& layer) {
  const int64_t multiplier = w.outputs / w.channels, row = w.width * w.channels;
  if (multiplier == 1) return layer(w, d);
  std::vector<uint8_t> repeated(w.n * w.height * row * multiplier);
  parallel_for(w.n * w.height, [&](int64_t task) {
    repeat(d.x + task * row, row, multiplier, repeated.data() + task * row * multiplier);
  });
  Windows whole = w;
  Depthwise again = d;
  whole.channels = whole.groups = w.outputs;
  again.x = repeated.data();
  layer(whole, again);
}

inline void one_filter(const Windows& windows, const Depthwise& depthwise) {
  if (depthwise.is_signed)
    Taps<int8_t>{windows, depthwise}.run();
  else
    Taps<uint8_t>{windows, depthwise}.run();
}

inline void depthwise(const Windows& windows, const Depthwise& layer) {
  with_one_filter(windows, layer, one_filter);
}

}  // namespace
}  // namespace qir
