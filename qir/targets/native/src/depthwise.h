// A depthwise convolution: each channel by its own filters, a sum over the taps of the window.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels.h"
#include "requantize.h"
#include "threads.h"

namespace qir {
namespace {

constexpr int64_t kChannels = 64;  // summed up at a time, in registers

// |x| <= 255 times |w| <= 128 fits into 16 bits, which are multiplied twice as fast as 32.
template <typename Number>
void add_tap(const Number* x, const int16_t* w, int64_t count, int32_t* acc) {
  for (int64_t i = 0; i < count; ++i)
    acc[i] += static_cast<int16_t>(static_cast<int16_t>(x[i]) * w[i]);
}

template <typename Number>
struct Taps {
  const Windows& w;
  const Depthwise& d;
  int64_t multiplier = w.outputs / w.channels;

  // Channels [first, first + count) of the result at one place.
  void at(int64_t image, int64_t oy, int64_t ox, int64_t first, int64_t count) const {
    int32_t acc[kChannels];
    Number spread[kChannels];
    std::fill_n(acc, count, 0);
    const int32_t fill = d.reals == nullptr ? d.fill : d.reals->image_zero[image];
    const Number* x = reinterpret_cast<const Number*>(d.x) + image * w.height * w.width * w.channels;
    for (int64_t i = 0; i < w.kernel[0]; ++i) {
      const int64_t y = oy * w.stride[0] - w.before[0] + i * w.dilation[0];
      for (int64_t j = 0; j < w.kernel[1]; ++j) {
        const int64_t column = ox * w.stride[1] - w.before[1] + j * w.dilation[1];
        const int16_t* filter = d.w + (i * w.kernel[1] + j) * w.outputs + first;
        if (y < 0 || y >= w.height || column < 0 || column >= w.width) {
          std::fill_n(spread, count, static_cast<Number>(fill));
          add_tap(spread, filter, count, acc);
          continue;
        }
        const Number* seen = x + (y * w.width + column) * w.channels;
        if (multiplier == 1) {
          add_tap(seen + first, filter, count, acc);
          continue;
        }
        for (int64_t k = 0; k < count; ++k) spread[k] = seen[(first + k) / multiplier];
        add_tap(spread, filter, count, acc);
      }
    }
    const int64_t place = ((image * w.out_height + oy) * w.out_width + ox) * w.outputs + first;
    const Sums sums{acc, d.bias + first, 0};
    if (d.reals == nullptr)
      finish(d.epilogue, sums, first, count, d.y + place);
    else
      finish(*d.reals, image, sums, first, count, d.reals->y + place);
  }

  void run() const {
    parallel_for(w.n * w.out_height, [&](int64_t row) {
      for (int64_t first = 0; first < w.outputs; first += kChannels)
        for (int64_t ox = 0; ox < w.out_width; ++ox)
          at(row / w.out_height, row % w.out_height, ox, first,
             std::min(kChannels, w.outputs - first));
    });
  }
};

inline void depthwise(const Windows& windows, const Depthwise& depthwise) {
  if (depthwise.is_signed)
    Taps<int8_t>{windows, depthwise}.run();
  else
    Taps<uint8_t>{windows, depthwise}.run();
}

}  // namespace
}  // namespace qir
