// A convolution whose windows are not gathered: some rows of the image are copied with their padding,
// one behind the other, and lie in the copy as the product reads them. Where the stride is 1 and a
// pixel is what the product steps by, each tap is a run of it, and places go on from row to row:
// those that stick out of a row are multiplied too, and not written. Else each row of a window is a
// run, and each row of the result begins anew unless its stride is 1.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "convolution.h"
#include "kernels.h"
#include "scratch.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kFewest = 32;  // channels, of which a run of the product is worth its start
constexpr int64_t kPlaces = 256;  // of a block, about

template <typename Isa>
struct Padded {
  using Element = typename Isa::Element;
  using Acc = int32_t (*)[Isa::kColumns];
  const Product<Isa>& p;
  const Windows& w = p.w;
  bool by_taps = w.runs == 1;
  bool goes_on = w.stride[0] == 1 && w.stride[1] == 1;  // from one row of the result to the next
  int64_t width = (w.out_width - 1) * w.stride[1] + (w.kernel[1] - 1) * w.dilation[1] + 1;
  int64_t reach = (w.kernel[0] - 1) * w.dilation[0];  // rows below the first that a window sees
  int64_t across = goes_on ? width : w.out_width;     // places of a row of the result
  int64_t length = by_taps ? w.channels : round_up(w.kernel[1] * w.channels, Isa::kInner);
  int64_t pitch = w.stride[1] * w.channels;           // from one place to the next

  bool serves() const {
    return w.runs > 1 ||
           (w.kernel[0] * w.kernel[1] > 1 && goes_on && w.groups == 1 && w.before[1] >= 0 &&
            w.channels >= kFewest && w.channels % Isa::kInner == 0);
  }

  // How many rows of the copy so many rows of the result see.
  int64_t seen_by(int64_t rows) const { return (rows - 1) * w.stride[0] + reach + 1; }

  // What the rows of the result from `top` to `bottom` see of an image.
  void copy(int64_t image, int64_t top, int64_t bottom, Element* to) const {
    const Element fill = p.fill_of(image);
    int64_t y = top * w.stride[0] - w.before[0];
    for (const int64_t end = y + seen_by(bottom - top); y < end; ++y) {
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

  // Where each run of a window starts.
  void find(std::vector<int64_t>& starts) const {
    starts.clear();
    for (int64_t i = 0; i < w.kernel[0]; ++i)
      for (int64_t j = 0; j < (by_taps ? w.kernel[1] : 1); ++j)
        starts.push_back((i * w.dilation[0] * width + j * w.dilation[1]) * w.channels);
  }

  // Some places by a tile, counted from the first row of a block; from: where they are in the copy;
  // row: of the result, where the block starts.
  struct Part {
    const Element* from;
    int64_t place, count, tile, row;
    const int32_t* taken;  // by place
  };

  // Writes what is inside of the rows among the places.
  void write(const Part& part, Acc acc) const {
    for (int64_t i = 0; i < part.count;) {
      const int64_t y = (part.place + i) / across, x = (part.place + i) % across;
      const int64_t some = std::min(part.count - i, w.out_width - x);
      const int32_t* taken = Isa::kCrosses ? part.taken + part.place + i : nullptr;
      if (some > 0)
        p.write({part.row + y * w.out_width + x, some, 0, part.tile, taken}, acc + i);
      i = (y + 1) * across - part.place;
    }
  }

  // Calls act for what tiles multiply of one image; its copy is at `copied`.
  template <typename Act>
  void by_units(const Element* copied, int64_t rows, int64_t row, const int32_t* taken,
                const Act& act) const {
    const int64_t lines = goes_on ? 1 : rows, next = w.stride[0] * width * w.channels;
    const int64_t places = goes_on ? (rows - 1) * width + w.out_width : w.out_width;
    for (int64_t line = 0; line < lines; ++line, copied += next)
      for (int64_t i = 0; i < places; i += Isa::kRows)
        act(Part{copied + i * pitch, line * across + i, std::min<int64_t>(Isa::kRows, places - i),
                 0, row, taken});
  }

  Left<Element> left_of(const Part& part, const std::vector<int64_t>& starts) const {
    return {part.from, pitch, length / Isa::kDepth, static_cast<int64_t>(starts.size()),
            starts.data()};
  }

  // Rows from `top` to `bottom` of some images, by the tiles from `first` to `last`.
  void block(int64_t image, int64_t images, int64_t top, int64_t bottom, int64_t first,
             int64_t last) const {
    thread_local Scratch<Element> copied;
    thread_local std::vector<int64_t> starts;
    const int64_t size = seen_by(bottom - top) * width * w.channels;
    copied.resize(images * size + Isa::kRows * pitch + length);
    for (int64_t i = 0; i < images; ++i) copy(image + i, top, bottom, copied.data() + i * size);
    find(starts);
    const int64_t rows = bottom - top, places = rows * across;
    const auto row_of = [&](int64_t i) { return ((image + i) * w.out_height + top) * w.out_width; };
    thread_local std::vector<int32_t> taken;
    if constexpr (Isa::kCrosses) {
      taken.resize(images * places);
      for (int64_t i = 0; i < images; ++i)
        by_units(copied.data() + i * size, rows, row_of(i), nullptr, [&](const Part& part) {
          for (int64_t r = 0; r < part.count; ++r)
            taken[i * places + part.place + r] = Isa::taken(left_of(part, starts), r);
        });
    }
    const auto written = [&](const Part& part, Acc acc)
        __attribute__((noinline)) { write(part, acc); };
    Overlapped<Isa, Part, decltype(written)> parts(written);
    const auto multiply = [&](Part part, int64_t tile) {
      part.tile = tile;
      const Left<Element> left = left_of(part, starts);
      parts(part, [&](Acc acc, auto& pending) {
        p.multiply({0, part.count, 0, tile}, left, acc, pending);
      });
    };
    // All columns are read for each unit; where they do not stay, all units for each tile of them.
    const bool stays = (last - first) * p.lda * Isa::kColumns <= kColumnsBytes;
    const int64_t step = stays ? last - first : 1;
    for (int64_t tile = first; tile < last; tile += step)
      for (int64_t i = 0; i < images; ++i)
        by_units(copied.data() + i * size, rows, row_of(i), taken.data() + i * places,
                 [&](const Part& part) {
                   for (int64_t each = tile; each < tile + step; ++each) multiply(part, each);
                 });
  }

  // Blocks of rows of an image, or of small images, are the tasks; where there are few, the columns
  // are shared out too.
  void run() const {
    const int64_t height = std::clamp<int64_t>(kPlaces / across, 1, w.out_height);
    const int64_t blocks = ceil_div(w.out_height, height), threads = thread_count();
    const int64_t several = blocks > 1 ? 1 : std::max<int64_t>(1, kPlaces / (across * w.out_height));
    const int64_t groups = std::min(w.n, std::max(ceil_div(w.n, several), std::min(w.n, threads)));
    const int64_t parts = threads == 1 ? 1 : std::min(p.tiles, ceil_div(2 * threads, groups * blocks));
    parallel_for(groups * blocks * parts, [&](int64_t task) {
      const int64_t part = task % parts, at = task / parts % blocks, group = task / parts / blocks;
      const int64_t image = w.n * group / groups;
      block(image, w.n * (group + 1) / groups - image, w.out_height * at / blocks,
            w.out_height * (at + 1) / blocks, p.tiles * part / parts, p.tiles * (part + 1) / parts);
    });
  }
};

}  // namespace
}  // namespace qir
