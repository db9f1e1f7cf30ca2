// A convolution of stride 1 whose windows are not gathered: some rows of the image are copied with
// their padding, one behind the other, and then each tap of neighbouring places lies in the copy as
// the product reads it. Places that stick out of a row are multiplied too, and not written.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "convolution.h"
#include "kernels.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kFewest = 32;  // channels, of which a run of the product is worth its start
constexpr int64_t kPlaces = 256;  // of a block, about

template <typename Isa>
struct Padded {
  using Element = typename Isa::Element;
  using Acc = typename Product<Isa>::Acc;
  const Product<Isa>& p;
  const Windows& w = p.w;
  int64_t width = w.out_width + (w.kernel[1] - 1) * w.dilation[1];  // of a row of the copy
  int64_t reach = (w.kernel[0] - 1) * w.dilation[0];                // rows below its own
  int64_t taps = w.kernel[0] * w.kernel[1];

  bool serves() const {
    return taps > 1 && w.stride[0] == 1 && w.stride[1] == 1 && w.groups == 1 &&
           w.before[1] >= 0 && w.channels >= kFewest && w.channels % Isa::kInner == 0;
  }

  // The rows of an image that the rows of the result from `first` to `last` see.
  void copy(int64_t image, int64_t first, int64_t last, Element* to) const {
    const Element fill = p.fill_of(image);
    for (int64_t y = first - w.before[0]; y < last + reach - w.before[0]; ++y) {
      const bool is_inside = y >= 0 && y < w.height;
      const int64_t left = is_inside ? std::min(w.before[1], width) : width;
      const int64_t right = std::max(left, std::min(width, left + w.width));
      std::fill_n(to, left * w.channels, fill);
      const uint8_t* from = p.c.x + (image * w.height + y) * w.width * w.channels;
      p.copy(from, (right - left) * w.channels, to + left * w.channels);
      std::fill_n(to + right * w.channels, (width - right) * w.channels, fill);
      to += width * w.channels;
    }
  }

  // Writes what is inside of the rows among `count` places of a block from `place` on; row: where
  // the block starts in the result.
  void write(int64_t place, int64_t count, int64_t row, int64_t tile, Acc acc) const {
    for (int64_t i = 0; i < count;) {
      const int64_t y = (place + i) / width, x = (place + i) % width;
      const int64_t some = std::min(count - i, w.out_width - x);
      if (some > 0) p.write({row + y * w.out_width + x, some, 0, tile}, acc + i);
      i = (y + 1) * width - place;
    }
  }

  // Some places of a block by a tile.
  struct Part {
    int64_t place, count, tile;
  };

  // Rows of an image by the tiles from `first` to `last`.
  void block(int64_t image, int64_t top, int64_t bottom, int64_t first, int64_t last) const {
    thread_local std::vector<Element> copied;
    thread_local std::vector<int64_t> starts;
    copied.resize(((bottom - top + reach) * width + Isa::kRows) * w.channels);
    copy(image, top, bottom, copied.data());
    starts.clear();
    for (int64_t i = 0; i < w.kernel[0]; ++i)
      for (int64_t j = 0; j < w.kernel[1]; ++j)
        starts.push_back((i * w.dilation[0] * width + j * w.dilation[1]) * w.channels);
    const int64_t places = (bottom - top - 1) * width + w.out_width;
    const int64_t row = (image * w.out_height + top) * w.out_width;
    const auto written = [&](const Part& part, int64_t from, int64_t some, Acc acc)
        __attribute__((noinline)) { write(part.place + from, some, row, part.tile, acc); };
    Overlapped<Isa, Part, decltype(written)> parts(written);
    for (int64_t place = 0; place < places; place += Isa::kRows)
      for (int64_t tile = first; tile < last; ++tile) {
        const Part part{place, std::min<int64_t>(Isa::kRows, places - place), tile};
        const Left<Element> left{copied.data() + place * w.channels, w.channels,
                                 w.channels / Isa::kDepth, taps, starts.data()};
        parts(part, [&](Acc acc, auto& pending) {
          p.multiply({0, part.count, 0, tile}, left, acc, pending);
        });
      }
  }

  void run() const {
    const int64_t height = std::clamp<int64_t>(kPlaces / width, 1, w.out_height);
    const int64_t blocks = ceil_div(w.out_height, height), threads = thread_count();
    const int64_t parts = threads == 1 ? 1 : std::min(p.tiles, ceil_div(2 * threads, w.n * blocks));
    parallel_for(w.n * blocks * parts, [&](int64_t task) {
      const int64_t part = task % parts, at = task / parts % blocks;
      block(task / parts / blocks, w.out_height * at / blocks, w.out_height * (at + 1) / blocks,
            p.tiles * part / parts, p.tiles * (part + 1) / parts);
    });
  }
};

template <typename Isa>
void conv(const Windows& windows, const Convolution& convolution) {
  const Product<Isa> product{windows, convolution};
  const Padded<Isa> padded{product};
  if (padded.serves())
    padded.run();
  else
    product.run();
}

}  // namespace
}  // namespace qir
