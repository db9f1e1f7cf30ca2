// Reals by integer weights: each image gets an 8-bit grid that spans it and zero, is stored on it,
// multiplied as integers are, and what the sums stand for is written as reals. Bit for bit the
// numpy meaning of the hybrid dialect. A dense layer is images of one pixel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "depthwise.h"
#include "kernels.h"
#include "lanes.h"
#include "requantize.h"
#include "threads.h"
#include "ways.h"

namespace qir {
namespace {

constexpr int64_t kChunk = 16384;  // elements of an image that a task looks at

struct Bounds {
  float low = 0, high = 0;

  void meet(const float* x, int64_t count) {
    F32 least{}, most{};
    by_lanes<kLanes>(count, [&](int64_t i, auto lanes) {
      const F32 some = load<F32>(x + i, lanes);  // zero where there is none
      least = some < least ? some : least;
      most = some > most ? some : most;
    });
    for (int64_t i = 0; i < kLanes; ++i) {
      low = std::min(low, least[i]);
      high = std::max(high, most[i]);
    }
  }
};

// The images of one call, stored on their grids.
struct Stored {
  std::vector<uint8_t> values;
  std::vector<float> scale;
  std::vector<int32_t> zero;

  // x: [images, size].
  void take(const float* x, int64_t images, int64_t size) {
    const int64_t parts = images >= 2 * thread_count() ? 1 : (size + kChunk - 1) / kChunk;
    const int64_t step = parts == 1 ? size : kChunk;
    values.resize(images * size), scale.resize(images), zero.resize(images);
    bounds_.assign(images * parts, {});
    const auto part = [&](int64_t task, const auto& act) {
      const int64_t image = task / parts, first = task % parts * step;
      act(image, image * size + first, std::min(step, size - first));
    };
    parallel_for(images * parts, [&](int64_t task) {
      part(task, [&](int64_t image, int64_t start, int64_t count) {
        bounds_[task].meet(x + start, count);
        if (parts == 1) grid(image, &bounds_[task], 1), round(image, x, start, count);
      });
    });
    if (parts == 1) return;
    for (int64_t image = 0; image < images; ++image) grid(image, &bounds_[image * parts], parts);
    parallel_for(images * parts, [&](int64_t task) {
      part(task, [&](int64_t image, int64_t start, int64_t count) {
        round(image, x, start, count);
      });
    });
  }

 private:
  void grid(int64_t image, const Bounds* bounds, int64_t count) {
    Bounds whole;
    for (int64_t i = 0; i < count; ++i) {
      whole.low = std::min(whole.low, bounds[i].low);
      whole.high = std::max(whole.high, bounds[i].high);
    }
    const float step = (whole.high - whole.low) / 255.0f;
    scale[image] = step > 0 ? step : 1.0f;
    zero[image] = rounded(-128.0f - whole.low / scale[image]);
  }

  void round(int64_t image, const float* x, int64_t start, int64_t count) {
    const float step = scale[image];
    const int32_t middle = zero[image];
    by_lanes<kLanes>(count, [&](int64_t i, auto lanes) {
      const I32 q = rounded(load<F32>(x + start + i, lanes) / step) + middle;
      store(narrow(clamped(q, -128, 127)), &values[start + i], lanes);
    });
  }

  std::vector<Bounds> bounds_;
};

// What both kinds of layer have in common: `layer` is told of the images and computes.
template <typename Layer>
void on_the_fly(const Windows& windows, const Hybrid& hybrid, const Layer& layer) {
  thread_local Stored images;
  images.take(hybrid.x, windows.n, windows.height * windows.width * windows.channels);
  const Reals reals{images.scale.data(), images.zero.data(), hybrid.scale, hybrid.taps,
                    hybrid.bias, hybrid.low, hybrid.high, hybrid.y};
  layer(images.values.data(), reals);
}

template <typename Isa, typename Crossed>
void hybrid_conv(const Windows& windows, const Hybrid& hybrid) {
  on_the_fly(windows, hybrid, [&](const uint8_t* values, const Reals& reals) {
    conv<Isa, Crossed>(windows, {values, true, 0, static_cast<const int8_t*>(hybrid.weights), hybrid.start,
                        {}, nullptr, &reals});
  });
}

inline void hybrid_depthwise(const Windows& windows, const Hybrid& hybrid) {
  on_the_fly(windows, hybrid, [&](const uint8_t* values, const Reals& reals) {
    depthwise(windows, {values, true, 0, static_cast<const int16_t*>(hybrid.weights),
                        hybrid.start, {}, nullptr, &reals});
  });
}

}  // namespace
}  // namespace qir
