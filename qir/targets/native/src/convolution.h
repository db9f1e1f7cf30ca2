// A convolution of any window, and with it a dense layer, as products of blocks of rows.
//
// The rows of a block, one for each place of the window, are gathered once in the form that the
// product reads; then every tile of columns is multiplied by them while they are in the cache. Rows
// that lie in x as the product reads them are not gathered.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels.h"
#include "requantize.h"
#include "scratch.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kBlockBytes = 96 * 1024;  // of rows, which stay in the second-level cache
constexpr int64_t kColumnsBytes = 1 << 20;  // of all columns, if they are to stay there, too
constexpr int64_t kLargeBlockBytes = 768 * 1024;  // of rows where columns do not: they are read anew
                                                  // for each block
constexpr int64_t kPanelBytes = 24 * 1024;  // of columns, which stay in the first-level cache

template <typename Isa>
struct Product {
  using Element = typename Isa::Element;
  const Windows& w;
  const Convolution& c;
  int64_t inner = w.channels / w.groups, columns = w.outputs / w.groups;
  int64_t depth = w.kernel[0] * w.kernel[1] * inner;
  int64_t lda = w.runs * round_up(depth / w.runs, Isa::kInner), steps = lda / Isa::kDepth;
  int64_t tiles = ceil_div(columns, Isa::kColumns);
  int64_t rows = w.n * w.out_height * w.out_width;
  const uint8_t* x_end = c.x + w.n * w.height * w.width * w.channels;
  bool is_dense = w.kernel[0] * w.kernel[1] * w.stride[0] * w.stride[1] * w.groups == 1 &&
                  w.before[0] == 0 && w.before[1] == 0 && w.out_height == w.height &&
                  w.out_width == w.width;  // each window is a row of x
  bool lies_in_x = is_dense && std::is_same_v<Element, uint8_t> &&
                   (Isa::kOffset == 0 || !c.is_signed);

  int64_t image_of(int64_t row) const { return row / (w.out_width * w.out_height); }

  // What the padding of an image holds.
  Element fill_of(int64_t image) const {
    const bool has_reals = c.reals != nullptr;
    return Isa::element(has_reals ? static_cast<uint8_t>(c.reals->image_zero[image]) : c.fill,
                        c.is_signed);
  }

  void copy(const uint8_t* from, int64_t count, Element* to) const {
    c.is_signed ? copied<Isa, true>(from, count, to) : copied<Isa, false>(from, count, to);
  }

  // Where in the result a row is; counted on, since a division for each row takes as long as to
  // gather a small one.
  struct Place {
    int64_t image, y, x;
  };

  Place place_of(int64_t row) const {
    return {image_of(row), row / w.out_width % w.out_height, row % w.out_width};
  }

  void step(Place& at) const {
    if (++at.x < w.out_width) return;
    at.x = 0;
    if (++at.y < w.out_height) return;
    at.y = 0, ++at.image;
  }

  // What the window sees at one place of the result, [kernel height, kernel width, inner]. What
  // lies behind it is multiplied by weights of zero.
  void gather(const Place& at, int64_t group, Element* to) const {
    const int64_t x0 = at.x * w.stride[1] - w.before[1], y0 = at.y * w.stride[0] - w.before[0];
    const uint8_t* image = c.x + at.image * w.height * w.width * w.channels + group * inner;
    const Element fill = fill_of(at.image);
    const bool is_run = w.dilation[1] == 1 && w.groups == 1 && x0 >= 0 &&
                        x0 + w.kernel[1] <= w.width;  // a row of the window is one piece of x
    if (is_run && y0 >= 0 && y0 + (w.kernel[0] - 1) * w.dilation[0] < w.height)
      return pieces<Isa>(image + (y0 * w.width + x0) * w.channels, w.kernel[0],
                         w.dilation[0] * w.width * w.channels, w.kernel[1] * inner, c.is_signed,
                         x_end, to);
    for (int64_t i = 0; i < w.kernel[0]; ++i, to += w.kernel[1] * inner) {
      const int64_t y = y0 + i * w.dilation[0];
      if (y < 0 || y >= w.height)
        std::fill_n(to, w.kernel[1] * inner, fill);
      else
        gather_row(image + y * w.width * w.channels, x0, fill, to);
    }
  }

  // One row of a window from column x0 on, which may reach beyond the image on both sides.
  void gather_row(const uint8_t* from, int64_t x0, Element fill, Element* to) const {
    if (w.dilation[1] == 1 && w.groups == 1) {
      const int64_t first = std::clamp<int64_t>(-x0, 0, w.kernel[1]);
      const int64_t last = std::clamp<int64_t>(w.width - x0, first, w.kernel[1]);
      std::fill_n(to, first * inner, fill);
      copy(from + (x0 + first) * w.channels, (last - first) * inner, to + first * inner);
      std::fill_n(to + last * inner, (w.kernel[1] - last) * inner, fill);
      return;
    }
    for (int64_t j = 0; j < w.kernel[1]; ++j, to += inner) {
      const int64_t x = x0 + j * w.dilation[1];
      if (x < 0 || x >= w.width)
        std::fill_n(to, inner, fill);
      else
        copy(from + x * w.channels, inner, to);
    }
  }

  // Up to kRows rows of the result from `row` on, in the columns of a tile of a group.
  struct Part {
    int64_t row, count, group, tile;
    const int32_t* taken = nullptr;  // by row
  };
  using Acc = int32_t (*)[Isa::kColumns];

  template <typename Pending>
  void multiply(const Part& at, const Left<Element>& left, Acc acc, Pending& pending) const {
    const int8_t* b = c.packed + (at.group * tiles + at.tile) * lda * Isa::kColumns;
    Isa::multiply(at.count, left, b, acc, c.is_signed, pending);
  }

  void write(const Part& at, Acc acc) const {
    const int64_t first = at.tile * Isa::kColumns, channel = at.group * columns + first;
    const int64_t used = std::min(columns - first, Isa::kColumns);
    const Sums sums{at.count, Isa::kColumns, acc[0], c.bias + channel, at.taken};
    const int64_t place = at.row * w.outputs + channel;
    if (c.reals != nullptr)
      by_width<Isa>(used, [&](auto width) {
        finish(*c.reals, sums, channel, width, place, w.outputs,
               [&](int64_t r) { return image_of(at.row + r); });
      });
    else if (used == Isa::kColumns || writes_fewer<Isa::kColumns>(c.epilogue))
      finish(c.epilogue, c.residual, sums, channel, Whole(), c.y, place, w.outputs, used);
    else
      write_partly(sums, channel, used, place);
  }

  using Whole = std::integral_constant<int64_t, Isa::kColumns>;

  // A tile of fewer columns: all of it is rescaled, by numbers that are filled up, and what is used
  // is copied.
  void write_partly(Sums sums, int64_t channel, int64_t used, int64_t place) const {
    const Some<Isa::kColumns> some(c.epilogue, channel, used);
    int32_t start[Isa::kColumns] = {};
    std::copy_n(sums.start, used, start);
    sums.start = start;
    alignas(64) uint8_t y[Isa::kRows * Isa::kColumns], other[Isa::kRows * Isa::kColumns] = {};
    Residual residual;
    if (c.residual != nullptr) {
      residual = *c.residual;
      residual.other = other;
      for (int64_t r = 0; r < sums.rows; ++r)
        std::copy_n(c.residual->other + place + r * w.outputs, used, other + r * Isa::kColumns);
    }
    finish(some.epilogue, c.residual == nullptr ? nullptr : &residual, sums, 0, Whole(), y, 0,
           Isa::kColumns);
    for (int64_t r = 0; r < sums.rows; ++r)
      std::copy_n(y + r * Isa::kColumns, used, c.y + place + r * w.outputs);
  }

  // Rows from `row` on, gathered unless they can be read where they lie: what is read of the next
  // row meets weights of zero, and after the last row there is none.
  Left<Element> rows_of(int64_t row, int64_t count, int64_t group) const {
    if constexpr (std::is_same_v<Element, uint8_t>) {
      const bool is_last = (row + count) * depth + lda - depth > rows * depth;
      if (lies_in_x && count % Isa::kGathered == 0 && !is_last)
        return {c.x + row * depth, depth, steps};
    }
    thread_local Scratch<Element> gathered;
    gathered.resize(round_up(count, Isa::kGathered) * lda + kWhole);
    if (is_dense && lda == depth) {
      copy(c.x + row * depth, count * depth, gathered.data());
      return {gathered.data(), lda, steps};
    }
    Place at = place_of(row);
    for (int64_t r = 0; r < count; ++r, step(at)) gather(at, group, gathered.data() + r * lda);
    return {gathered.data(), lda, steps};
  }

  // Rows from `row` on by the tiles from `first` to `last`.
  void block(int64_t row, int64_t count, int64_t group, int64_t first, int64_t last) const {
    const Left<Element> all = rows_of(row, count, group);
    thread_local std::vector<int32_t> taken;
    if constexpr (Isa::kCrosses) {
      taken.resize(count);
      for (int64_t r = 0; r < count; ++r) taken[r] = Isa::taken(all, r);
    }
    const auto written = [&](const Part& part, Acc acc)
        __attribute__((noinline)) { write(part, acc); };
    Overlapped<Isa, Part, decltype(written)> parts(written);
    const int64_t fitting = std::max<int64_t>(1, kPanelBytes / (lda * Isa::kColumns));
    for (int64_t panel = first; panel < last; panel += fitting)
      for (int64_t r = 0; r < count; r += Isa::kRows)
        for (int64_t tile = panel; tile < std::min(panel + fitting, last); ++tile) {
          const Part part{row + r, std::min<int64_t>(Isa::kRows, count - r), group, tile,
                          Isa::kCrosses ? taken.data() + r : nullptr};
          Left<Element> left = all;
          left.rows += r * left.pitch;
          parts(part, [&](Acc acc, auto& pending) { multiply(part, left, acc, pending); });
        }
  }

  // Blocks of rows, of sizes that differ by one step of the product, are the tasks. Where there are
  // few, the columns are shared out too; each part then gathers its rows for itself.
  void run() const {
    const bool stays = tiles * Isa::kColumns * lda <= kColumnsBytes;
    const int64_t bytes = stays ? kBlockBytes : kLargeBlockBytes;
    const int64_t fitting = bytes / (lda * int64_t{sizeof(Element)}) / Isa::kAtOnce;
    const int64_t units = ceil_div(rows, Isa::kAtOnce), threads = thread_count();
    const int64_t most = std::max(8, 2 * Isa::kRows / Isa::kAtOnce);
    int64_t blocks = ceil_div(units, std::clamp<int64_t>(fitting, 1, most));
    if (blocks * w.groups < 4 * threads) blocks = std::min(units, round_up(blocks, threads));
    const int64_t few = lies_in_x ? 4 * threads : 2 * threads;
    const int64_t parts = threads == 1 ? 1 : std::min(tiles, ceil_div(few, blocks * w.groups));
    parallel_for(blocks * w.groups * parts, [&](int64_t task) {
      const int64_t part = task % parts, group = task / parts % w.groups;
      const int64_t at = task / parts / w.groups;
      const int64_t row = units * at / blocks * Isa::kAtOnce;
      const int64_t last = std::min(units * (at + 1) / blocks * Isa::kAtOnce, rows);
      block(row, last - row, group, tiles * part / parts, tiles * (part + 1) / parts);
    });
  }
};

}  // namespace
}  // namespace qir
