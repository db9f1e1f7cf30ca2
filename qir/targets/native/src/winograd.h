// A convolution of 3x3 with stride 1 by fewer products: four neighbouring results from 16 products
// for each channel instead of 36 (Winograd's F(2x2, 3x3): Lavin and Gray, 2016, arXiv:1509.09308).
//
// What 4x4 pixels and a filter become is exact in 16 bits, the filter four times as large, so that
// the sums are exact multiples of four: at most 9 * 128 by 4 * 255 for each channel. Filters are
// packed as [N / columns, 16, K / depth, columns, depth].
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "convolution.h"
#include "kernels.h"
#include "lanes.h"
#include "scratch.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kSquares = 48;  // of 2x2 results in a block, about
constexpr int64_t kShorts = 2 * kLanes;
using Shorts = int16_t __attribute__((vector_size(2 * kShorts)));

QIR_INLINED Shorts shorts(const uint8_t* from, bool is_signed) {
#if QIR_LANES == 8
  return (Shorts)widened_to_16(load<__m128i>(from, kShorts), is_signed);
#else
  Shorts all;
  for (int i = 0; i < kShorts; ++i) all[i] = is_signed ? static_cast<int8_t>(from[i]) : from[i];
  return all;
#endif
}

// Four values in a line to the four that products are taken of.
template <typename Vector>
QIR_INLINED void transformed(Vector& a, Vector& b, Vector& c, Vector& d) {
  const Vector first = a - c, sum = b + c, difference = c - b, last = b - d;
  a = first, b = sum, c = difference, d = last;
}

template <typename Isa>
struct Winograd {
  static_assert(Isa::kDepth == 2 && sizeof(typename Isa::Element) == 2 && !Isa::kCrosses);
  using U32 = uint32_t __attribute__((vector_size(4 * kLanes)));  // sums on the way may wrap
  const Product<Isa> p;
  const Windows& w = p.w;
  int64_t down = ceil_div(w.out_height, 2), across = ceil_div(w.out_width, 2);  // squares

  // Four by four pixels, of which some are outside, as 16 rows of channels `pitch` apart.
  void see(const uint8_t* image, const uint8_t* fill, int64_t top, int64_t left, int64_t pitch,
           int16_t* to) const {
    const uint8_t* from[4][4];
    for (int64_t i = 0; i < 4; ++i)
      for (int64_t j = 0; j < 4; ++j) {
        const int64_t y = top + i, x = left + j;
        const bool is_inside = y >= 0 && y < w.height && x >= 0 && x < w.width;
        from[i][j] = is_inside ? image + (y * w.width + x) * w.channels : fill;
      }
    for (int64_t channel = 0; channel < w.channels; channel += kShorts) {
      Shorts seen[4][4];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        seen[i / 4][i % 4] = shorts(from[i / 4][i % 4] + channel, p.c.is_signed);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) transformed(seen[0][j], seen[1][j], seen[2][j], seen[3][j]);
#pragma GCC unroll 4
      for (auto& row : seen) transformed(row[0], row[1], row[2], row[3]);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        store(seen[i / 4][i % 4], to + i * pitch + channel, kShorts);
    }
  }

  // The 2x2 sums of a square in some columns; from: 16 rows of products, `pitch` apart; to: two rows
  // of results, `line` apart.
  void gather(const int32_t* from, int64_t pitch, int64_t line, int32_t* to) const {
    for (int64_t column = 0; column < Isa::kColumns; column += kLanes) {
      U32 sums[2][4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const auto at = [&](int i) {
          return load<U32>(from + (4 * i + j) * pitch + column, kLanes);
        };
        const U32 second = at(1), third = at(2);
        sums[0][j] = at(0) + second + third, sums[1][j] = second - third - at(3);
      }
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const auto& s = sums[i];
        int32_t* const left = to + i * line + column;
        store((I32)(s[0] + s[1] + s[2]) >> 2, left, kLanes);
        store((I32)(s[1] - s[2] - s[3]) >> 2, left + Isa::kColumns, kLanes);
      }
    }
  }

  static typename Product<Isa>::Acc rows_of(int32_t* sums) {
    return reinterpret_cast<int32_t(*)[Isa::kColumns]>(sums);
  }

  // Rows of squares from `top` to `bottom` of an image, by the tiles from `first` to `last`.
  void block(int64_t image, int64_t top, int64_t bottom, int64_t first, int64_t last) const {
    thread_local Scratch<int16_t> seen;
    thread_local Scratch<int32_t> products, sums;
    thread_local std::vector<uint8_t> fill;
    const int64_t squares = (bottom - top) * across, row = 2 * across * Isa::kColumns;
    seen.resize(16 * squares * w.channels);
    products.resize(16 * squares * Isa::kColumns);
    sums.resize(2 * row);
    fill.assign(w.channels, p.c.fill);
    const uint8_t* const x = p.c.x + image * w.height * w.width * w.channels;
    for (int64_t s = 0; s < squares; ++s)
      see(x, fill.data(), 2 * (top + s / across) - w.before[0], 2 * (s % across) - w.before[1],
          squares * w.channels, seen.data() + s * w.channels);
    for (int64_t tile = first; tile < last; ++tile) {
      const int16_t* b = p.c.transformed + tile * 16 * w.channels * Isa::kColumns;
      for (int64_t place = 0; place < 16; ++place, b += w.channels * Isa::kColumns)
        for (int64_t s = 0; s < squares; s += Isa::kRows) {
          const int64_t at = place * squares + s;
          const Left<int16_t> left{seen.data() + at * w.channels, w.channels, w.channels / 2};
          by_count<Isa>(std::min<int64_t>(Isa::kRows, squares - s), left, b,
                        rows_of(products.data() + at * Isa::kColumns));
        }
      for (int64_t y = top; y < bottom; ++y) {
        const int32_t* from = products.data() + (y - top) * across * Isa::kColumns;
        for (int64_t s = 0; s < across; ++s)
          gather(from + s * Isa::kColumns, squares * Isa::kColumns, row,
                 sums.data() + 2 * s * Isa::kColumns);
        for (int64_t i = 0; i < 2 && 2 * y + i < w.out_height; ++i)
          write((image * w.out_height + 2 * y + i) * w.out_width, tile, sums.data() + i * row);
      }
    }
  }

  void write(int64_t row, int64_t tile, int32_t* sums) const {
    for (int64_t x = 0; x < w.out_width; x += Isa::kRows)
      p.write({row + x, std::min<int64_t>(Isa::kRows, w.out_width - x), 0, tile},
              rows_of(sums + x * Isa::kColumns));
  }

  // Blocks of rows of squares are the tasks; where there are few, the columns are shared out too.
  void run() const {
    const int64_t height = std::clamp<int64_t>(kSquares / across, 1, down);
    const int64_t blocks = ceil_div(down, height), threads = thread_count();
    const int64_t parts =
        threads == 1 ? 1 : std::min(p.tiles, ceil_div(2 * threads, w.n * blocks));
    parallel_for(w.n * blocks * parts, [&](int64_t task) {
      const int64_t part = task % parts, at = task / parts % blocks;
      block(task / parts / blocks, down * at / blocks, down * (at + 1) / blocks,
            p.tiles * part / parts, p.tiles * (part + 1) / parts);
    });
  }
};

}  // namespace
}  // namespace qir
