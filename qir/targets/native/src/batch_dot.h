// Products of two activations, a[batch..., M, K] by b[batch..., K, N], read through any order of
// their axes. Zero points are taken out by sums: with za, zb the zero points,
// sum((a - za) * (b - zb)) = sum(a * b) - zb * sum(a) - za * sum(b) + K * za * zb.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels.h"
#include "requantize.h"
#include "scratch.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

template <typename Isa>
struct BatchDot {
  using Element = typename Isa::Element;
  const Products& p;
  const Side &a = p.a, &b = p.b;
  int64_t lda = round_up(p.inner, Isa::kInner), steps = lda / Isa::kDepth;
  int64_t tiles = ceil_div(p.columns, Isa::kColumns);
  // b is multiplied as i8: where it is u8, it is moved down, and its zero point with it
  int32_t b_zero = b.is_signed ? b.zero : b.zero - 128;

  const uint8_t* start(const Side& side, int64_t batch) const {
    const uint8_t* at = side.values;
    for (int64_t axis = p.rank; axis-- > 0; batch /= p.batch[axis])
      at += batch % p.batch[axis] * side.stride[axis];
    return at;
  }

  // What a step of a tile holds: kDepth rows of b by kColumns of its columns, [columns, depth].
  void pack(const uint8_t* from, int64_t depth, int64_t width, int8_t* to) const {
    const int64_t down = b.stride[p.rank], right = b.stride[p.rank + 1];
    const uint8_t flip = b.is_signed ? 0 : 0x80;
    const bool is_whole = depth == Isa::kDepth && width == Isa::kColumns;
    if (is_whole && right == 1) return interleave(from, down, flip, to);
    if (!is_whole) std::fill_n(to, Isa::kDepth * Isa::kColumns, 0);
    for (int64_t j = 0; j < width; ++j, from += right, to += Isa::kDepth)
      if (down == 1 && depth == Isa::kDepth)
        for (int64_t k = 0; k < Isa::kDepth; ++k) to[k] = static_cast<int8_t>(from[k] ^ flip);
      else
        for (int64_t k = 0; k < depth; ++k) to[k] = static_cast<int8_t>(from[k * down] ^ flip);
  }

  static void interleave(const uint8_t* __restrict from, int64_t down, uint8_t flip,
                         int8_t* __restrict to) {
    for (int64_t j = 0; j < Isa::kColumns; ++j)
      for (int64_t k = 0; k < Isa::kDepth; ++k)
        to[j * Isa::kDepth + k] = static_cast<int8_t>(from[k * down + j] ^ flip);
  }

  // b as tiles of columns; and what each column starts with, from its sum: its product with ones.
  void pack(const uint8_t* from, const Element* ones, int8_t* packed, int32_t* begin) const {
    const int64_t down = b.stride[p.rank], right = b.stride[p.rank + 1];
    const auto a_zero = static_cast<int32_t>(a.zero + (a.is_signed ? Isa::kOffset : 0));
    const auto constant = static_cast<int32_t>(p.inner) * a.zero * b_zero;
    alignas(64) int32_t sums[Isa::kRows][Isa::kColumns];
    for (int64_t tile = 0; tile < tiles; ++tile, begin += Isa::kColumns) {
      const int64_t first = tile * Isa::kColumns, width = std::min(p.columns - first, Isa::kColumns);
      int8_t* const start = packed + first * lda;
      for (int64_t k = 0; k < lda; k += Isa::kDepth)
        pack(from + k * down + first * right, std::clamp<int64_t>(p.inner - k, 0, Isa::kDepth),
             width, start + k * Isa::kColumns);
      Isa::multiply(1, Left<Element>{ones, lda, steps}, start, sums, false, nothing_pending);
      for (int64_t j = 0; j < Isa::kColumns; ++j) begin[j] = constant - a_zero * sums[0][j];
    }
  }

  // A row of a as the product reads it.
  void gather(const uint8_t* from, Element* to) const {
    const int64_t step = a.stride[p.rank + 1];
    if (step == 1)
      a.is_signed ? copied<Isa, true>(from, p.inner, to) : copied<Isa, false>(from, p.inner, to);
    else
      for (int64_t k = 0; k < p.inner; ++k) to[k] = Isa::element(from[k * step], a.is_signed);
    std::fill(to + p.inner, to + lda, Element{0});
  }

  // What the zero point of b takes from every sum of a row of a.
  int32_t taken_by(const uint8_t* from) const {
    if (b_zero == 0) return 0;
    const int64_t step = a.stride[p.rank + 1];
    int32_t sum = 0;
    if (a.is_signed)
      for (int64_t k = 0; k < p.inner; ++k) sum += static_cast<int8_t>(from[k * step]);
    else
      for (int64_t k = 0; k < p.inner; ++k) sum += from[k * step];
    return b_zero * sum;
  }

  void multiply(int64_t count, const Element* rows, const int32_t* taken, const int8_t* packed,
                const int32_t* begin, int64_t first, uint8_t* y) const {
    alignas(64) int32_t acc[Isa::kRows][Isa::kColumns];
    Isa::multiply(count, Left<Element>{rows, lda, steps}, packed, acc, a.is_signed,
                  nothing_pending);
    const Sums sums{count, Isa::kColumns, acc[0], begin, taken};
    by_width<Isa>(std::min(p.columns - first, Isa::kColumns), [&](auto width) {
      finish(p.epilogue, nullptr, sums, first, width, y, first, p.columns);
    });
  }

  void rows(int64_t batch, int64_t first, int64_t last) const {
    [[maybe_unused]] const typename Isa::Ready ready;
    thread_local Scratch<int8_t> packed;
    thread_local Scratch<int32_t> begin;
    thread_local Scratch<Element> gathered;
    packed.resize(tiles * Isa::kColumns * lda);
    begin.resize(tiles * Isa::kColumns);
    gathered.resize(round_up(Isa::kRows, Isa::kGathered) * lda);
    std::fill_n(gathered.data(), lda, Element{1});
    pack(start(b, batch), gathered.data(), packed.data(), begin.data());
    const uint8_t* from = start(a, batch);
    for (int64_t row = first; row < last; row += Isa::kRows) {
      const int64_t count = std::min<int64_t>(Isa::kRows, last - row);
      int32_t taken[Isa::kRows];
      for (int64_t r = 0; r < count; ++r) {
        const uint8_t* each = from + (row + r) * a.stride[p.rank];
        gather(each, gathered.data() + r * lda);
        taken[r] = taken_by(each);
      }
      for (int64_t tile = 0; tile < tiles; ++tile)
        multiply(count, gathered.data(), taken, packed.data() + tile * Isa::kColumns * lda,
                 begin.data() + tile * Isa::kColumns, tile * Isa::kColumns,
                 p.y + (batch * p.rows + row) * p.columns);
    }
  }

  void run() const {
    int64_t batches = 1;
    for (int64_t axis = 0; axis < p.rank; ++axis) batches *= p.batch[axis];
    const int64_t blocks = ceil_div(p.rows, Isa::kAtOnce);
    // few products: the rows of each are shared out too
    const int64_t parts = batches >= thread_count() ? 1 : std::min(blocks, thread_count());
    parallel_for(batches * parts, [&](int64_t task) {
      const int64_t part = task % parts;
      rows(task / parts, std::min(p.rows, blocks * part / parts * Isa::kAtOnce),
           std::min(p.rows, blocks * (part + 1) / parts * Isa::kAtOnce));
    });
  }
};

template <typename Isa>
void batch_dot(const Products& products) {
  BatchDot<Isa>{products}.run();
}

}  // namespace
}  // namespace qir
