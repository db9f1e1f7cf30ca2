// Products of two activations, a[batch..., M, K] by b[batch..., K, N], read through any order of
// their axes. Zero points are taken out by sums: with za, zb the zero points,
// sum((a - za) * (b - zb)) = sum(a * b) - zb * sum(a) - za * sum(b) + K * za * zb.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "requantize.h"
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

  // b as tiles of columns; and what each column starts with.
  void pack(const uint8_t* from, int8_t* packed, int32_t* begin) const {
    const int64_t down = b.stride[p.rank], right = b.stride[p.rank + 1];
    const uint8_t flip = b.is_signed ? 0 : 0x80;
    const int32_t a_zero = a.zero + (a.is_signed ? Isa::kOffset : 0);
    for (int64_t j = 0; j < tiles * Isa::kColumns; ++j) {
      int32_t sum = 0;
      int8_t* to = packed + j / Isa::kColumns * steps * Isa::kDepth * Isa::kColumns +
                   j % Isa::kColumns * Isa::kDepth;
      for (int64_t k = 0; k < lda; ++k) {
        const bool there = j < p.columns && k < p.inner;
        const auto value =
            there ? static_cast<int8_t>(from[k * down + j * right] ^ flip) : int8_t{0};
        to[k / Isa::kDepth * Isa::kDepth * Isa::kColumns + k % Isa::kDepth] = value;
        sum += value;
      }
      begin[j] = static_cast<int32_t>(p.inner) * a.zero * b_zero - a_zero * sum;
    }
  }

  // A row of a as the product reads it; gives what its zero points take from every sum.
  int32_t gather(const uint8_t* from, Element* to) const {
    const int64_t step = a.stride[p.rank + 1];
    int32_t sum = 0;
    for (int64_t k = 0; k < p.inner; ++k) {
      const uint8_t stored = from[k * step];
      sum += a.is_signed ? static_cast<int8_t>(stored) : stored;
      to[k] = Isa::element(stored, a.is_signed);
    }
    std::fill(to + p.inner, to + lda, Element{0});
    return b_zero * sum;
  }

  void multiply(int64_t count, const Element* rows, const int32_t* taken, const int8_t* packed,
                const int32_t* begin, int64_t first, uint8_t* y) const {
    alignas(64) int32_t acc[Isa::kRows][Isa::kColumns];
    Isa::multiply(count, rows, lda, packed, steps, acc, a.is_signed);
    by_width<Isa>(std::min(p.columns - first, Isa::kColumns), [&](auto width) {
      for (int64_t r = 0; r < count; ++r)
        finish(p.epilogue, Sums{acc[r], begin, taken[r]}, first, width, y + r * p.columns + first);
    });
  }

  void rows(int64_t batch, int64_t first, int64_t last) const {
    [[maybe_unused]] const typename Isa::Ready ready;
    thread_local std::vector<int8_t> packed;
    thread_local std::vector<int32_t> begin;
    thread_local std::vector<Element> gathered;
    packed.resize(tiles * Isa::kColumns * lda);
    begin.resize(tiles * Isa::kColumns);
    gathered.resize(round_up(Isa::kRows, Isa::kGathered) * lda);
    pack(start(b, batch), packed.data(), begin.data());
    const uint8_t* from = start(a, batch);
    for (int64_t row = first; row < last; row += Isa::kRows) {
      const int64_t count = std::min<int64_t>(Isa::kRows, last - row);
      int32_t taken[Isa::kRows];
      for (int64_t r = 0; r < count; ++r)
        taken[r] = gather(from + (row + r) * a.stride[p.rank], gathered.data() + r * lda);
      for (int64_t tile = 0; tile < tiles; ++tile)
        multiply(count, gathered.data(), taken, packed.data() + tile * Isa::kColumns * lda,
                 begin.data() + tile * Isa::kColumns, tile * Isa::kColumns,
                 p.y + (batch * p.rows + row) * p.columns);
    }
  }

  void run() const {
    int64_t batches = 1;
    for (int64_t axis = 0; axis < p.rank; ++axis) batches *= p.batch[axis];
    const int64_t blocks = ceil_div(p.rows, Isa::kRows);
    // few products: the rows of each are shared out too
    const int64_t parts = batches >= thread_count() ? 1 : std::min(blocks, thread_count());
    parallel_for(batches * parts, [&](int64_t task) {
      const int64_t part = task % parts;
      rows(task / parts, std::min(p.rows, blocks * part / parts * Isa::kRows),
           std::min(p.rows, blocks * (part + 1) / parts * Isa::kRows));
    });
  }
};

template <typename Isa>
void batch_dot(const Products& products) {
  BatchDot<Isa>{products}.run();
}

}  // namespace
}  // namespace qir
