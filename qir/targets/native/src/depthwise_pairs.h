// A depthwise convolution by products of two taps at once, with AVX2: 16 channels side by side,
// each channel's two numbers brought together in 16 bits, then multiplied and summed at once.
//
// The two lie across a line of the result, see lines.h. Filters are packed as [taps along the line,
// taps across it / 2, blocks, channel, tap].
#pragma once

#include <algorithm>
#include <cstdint>
#include <immintrin.h>
#include <utility>

#include "depthwise.h"
#include "kernels.h"
#include "lines.h"
#include "requantize.h"
#include "scratch.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kBlock = 2 * kLanes, kPair = 2 * kBlock;
constexpr int kWindows = 6;  // whose sums are registers

template <bool kSigned>
struct Pairs {
  const Windows& w;
  const Depthwise& d;
  Lines<2, kBlock> lines = lines_of(w);
  const Axis& along = lines.along;
  int64_t pairs = lines.groups, column = pairs * kPair;  // how many numbers a column is

  // The last block overlaps the one before it, unless it is the only one.
  static Lines<2, kBlock> lines_of(const Windows& w) {
    Lines<2, kBlock> lines{w};
    lines.furthest = std::max<int64_t>(0, w.channels - kBlock);
    return lines;
  }

  static __m256i wide(__m128i bytes) { return widened_to_16(bytes, kSigned); }

  // Brings two taps together, [channel][tap], at `columns` columns.
  template <typename Count>
  QIR_INLINED void bring(Tap one, Tap other, int64_t columns, Count count, int16_t* to) const {
    for (; columns > 0; --columns, one.from += one.pitch, other.from += other.pitch, to += column) {
      const auto x = load<__m128i>(one.from, count), y = load<__m128i>(other.from, count);
      store(wide(_mm_unpacklo_epi8(x, y)), to, kBlock);
      store(wide(_mm_unpackhi_epi8(x, y)), to + kBlock, kBlock);
    }
  }

  // The columns from `first` to `last` as [pairs][channel][tap], some of them outside of the image.
  template <typename Count>
  QIR_INLINED void bring(const Tap* taps, const uint8_t* fill, int64_t first, int64_t last,
                         Count count, int16_t* to) const {
    const int64_t from = std::clamp<int64_t>(0, first, last);
    const int64_t until = std::clamp(along.size, from, last);
    const auto at = [&](const Tap& tap) { return Tap{tap.from + from * tap.pitch, tap.pitch}; };
    for (int64_t p = 0; p < pairs; ++p, taps += 2, to += kPair) {
      bring({fill, 0}, {fill, 0}, from - first, count, to);
      bring(at(taps[0]), at(taps[1]), until - from, count, to + (from - first) * column);
      bring({fill, 0}, {fill, 0}, last - until, count, to + (until - first) * column);
    }
  }

  // Adds up the taps of kCount neighbouring windows, the first of which begins at `from`.
  template <int kCount>
  QIR_INLINED void sum(const int16_t* from, const int16_t* filter, int32_t (*sums)[kBlock]) const {
    __m256i acc[kCount][2];
#pragma GCC unroll 8  // as below: else the sums are memory
    for (auto& each : acc) each[0] = each[1] = _mm256_setzero_si256();
    const int64_t next = along.stride * column;
    for (int64_t j = 0; j < along.kernel; ++j, from += along.dilation * column) {
      const int16_t* seen = from;
      for (int64_t p = 0; p < pairs; ++p, seen += kPair, filter += lines.blocks * kPair) {
        const auto low = load<__m256i>(filter, kBlock);
        const auto high = load<__m256i>(filter + kBlock, kBlock);
#pragma GCC unroll 8
        for (int c = 0; c < kCount; ++c) {
          const int16_t* at = seen + c * next;
          acc[c][0] = plus_pairs(acc[c][0], load<__m256i>(at, kBlock), low);
          acc[c][1] = plus_pairs(acc[c][1], load<__m256i>(at + kBlock, kBlock), high);
        }
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < kCount; ++c) {
      store(acc[c][0], sums[c], kLanes);
      store(acc[c][1], sums[c] + kLanes, kLanes);
    }
  }

  template <int... kCounts>
  QIR_INLINED void sum(int64_t count, std::integer_sequence<int, kCounts...>, const int16_t* from,
                       const int16_t* filter, int32_t (*sums)[kBlock]) const {
    ((count == kCounts + 1 ? sum<kCounts + 1>(from, filter, sums) : void()), ...);
  }

  // The windows of a line from `first` to `last`, for `count` channels from `channel` on.
  template <typename Count>
  void windows(const Tap* taps, const uint8_t* fill, int64_t channel, Count count, uint8_t* y,
               int64_t first, int64_t last, int16_t* columns) const {
    const int64_t left = first * along.stride - along.before;
    bring(taps, fill, left, left + (last - first - 1) * along.stride + lines.reach, count, columns);
    alignas(64) int32_t sums[kWindows][kBlock];
    const auto groups = ceil_div(last - first, kWindows);
    for (int64_t i = 0, ox = first; i < groups; ++i) {
      const int64_t some = ceil_div(last - ox, groups - i);
      sum(some, std::make_integer_sequence<int, kWindows>(),
          columns + (ox - first) * along.stride * column, d.w + 2 * channel, sums);
      write({some, kBlock, sums[0], d.bias + channel, nullptr}, channel, count,
            y + ox * along.y_pitch);
      ox += some;
    }
  }

  void write(const Sums& sums, int64_t channel, int64_t count, uint8_t* y) const {
    using Whole = std::integral_constant<int64_t, kBlock>;
    if (count == kBlock || writes_fewer<kBlock>(d.epilogue))
      finish(d.epilogue, nullptr, sums, channel, Whole(), y, 0, along.y_pitch, count);
    else
      finish(d.epilogue, nullptr, sums, channel, count, y, 0, along.y_pitch);
  }

  void run() const {
    const auto pieces = lines.pieces_of(along.out, column * int64_t{sizeof(int16_t)});
    lines.run(d, [&](const Tap* taps, const uint8_t* fill, int64_t block, uint8_t* y) {
      thread_local Scratch<int16_t> columns;
      columns.resize(pieces.most * column);
      const int64_t channel = lines.first_of(block);
      pieces.each([&](int64_t first, int64_t last) {
        if (w.channels >= kBlock)
          windows(taps, fill, channel, std::integral_constant<int64_t, kBlock>(), y, first, last,
                  columns.data());
        else
          windows(taps, fill, channel, w.channels, y, first, last, columns.data());
      });
    });
  }
};

inline void by_pairs(const Windows& windows, const Depthwise& depthwise) {
  if (depthwise.is_signed)
    Pairs<true>{windows, depthwise}.run();
  else
    Pairs<false>{windows, depthwise}.run();
}

inline void depthwise_by_pairs(const Windows& windows, const Depthwise& layer) {
  with_one_filter(windows, layer, by_pairs);
}

}  // namespace
}  // namespace qir
