// A depthwise convolution by products of four taps at once, with AVX-512 VNNI: 64 channels side by
// side, each channel's four bytes brought together, then multiplied and summed by one instruction.
//
// Unpacking leaves channel 16 * i + 4 * q + j of a block in lane 4 * i + j of register q; packing
// undoes that. Filters are packed as [taps / 4, blocks, q, i, j, tap], and what there is a number of
// by channel as [blocks, q, i, j]. Where the last block has at most 32 channels, or 16, it holds
// them twice, or four times, for as many windows at once. A signed x is moved up by 128; the bias
// makes up for it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <immintrin.h>
#include <vector>

#include "depthwise.h"
#include "kernels.h"
#include "requantize.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kBlock = 64;

struct Fours {
  const Windows& w;
  const Depthwise& d;
  int64_t taps = w.kernel[0] * w.kernel[1], fours = ceil_div(taps, 4);
  int64_t blocks = ceil_div(w.channels, kBlock);

  // One tap of kWindows windows, whose addresses are at `at`.
  template <int kWindows>
  static __m512i seen(const uint8_t* const* at, int64_t first, __mmask64 mask) {
    if constexpr (kWindows == 1) return _mm512_maskz_loadu_epi8(mask, at[0] + first);
    if constexpr (kWindows == 2) {
      const auto part = [&](int k) { return _mm256_maskz_loadu_epi8(mask, at[k] + first); };
      return _mm512_inserti64x4(_mm512_castsi256_si512(part(0)), part(1), 1);
    }
    const auto part = [&](int k) { return _mm_maskz_loadu_epi8(mask, at[k] + first); };
    __m512i all = _mm512_castsi128_si512(part(0));
    all = _mm512_inserti32x4(all, part(1), 1);
    all = _mm512_inserti32x4(all, part(2), 2);
    return _mm512_inserti32x4(all, part(3), 3);
  }

  // Adds up all taps of a block; they are `out_width` apart.
  template <int kWindows>
  void sum(const uint8_t* const* at, int64_t block, __mmask64 mask, __m512i (&acc)[4]) const {
    const int64_t first = block * kBlock, pitch = w.out_width;
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(d.is_signed ? 0x80 : 0));
    const int8_t* filter = d.packed + block * 4 * kBlock;
    for (int64_t k = 0; k < fours; ++k, at += 4 * pitch, filter += blocks * 4 * kBlock) {
      __m512i x[4];
      for (int t = 0; t < 4; ++t)
        x[t] = _mm512_xor_si512(flip, seen<kWindows>(at + t * pitch, first, mask));
      const __m512i low[2] = {_mm512_unpacklo_epi8(x[0], x[1]), _mm512_unpacklo_epi8(x[2], x[3])};
      const __m512i high[2] = {_mm512_unpackhi_epi8(x[0], x[1]), _mm512_unpackhi_epi8(x[2], x[3])};
      const __m512i each[4] = {
          _mm512_unpacklo_epi16(low[0], low[1]), _mm512_unpackhi_epi16(low[0], low[1]),
          _mm512_unpacklo_epi16(high[0], high[1]), _mm512_unpackhi_epi16(high[0], high[1])};
      for (int q = 0; q < 4; ++q)
        acc[q] = _mm512_dpbusd_epi32(acc[q], each[q], _mm512_loadu_si512(filter + q * kBlock));
    }
  }

  template <int kWindows>
  void write(__m512i bytes, __mmask64 mask, int64_t count, uint8_t* y) const {
    if constexpr (kWindows == 1) return _mm512_mask_storeu_epi8(y, mask, bytes);
    alignas(64) uint8_t all[kBlock];
    _mm512_store_si512(all, bytes);
    for (int64_t c = 0; c < std::min<int64_t>(kWindows, count); ++c, y += w.outputs)
      if constexpr (kWindows == 2)
        _mm256_mask_storeu_epi8(y, mask, _mm256_load_si256((__m256i*)(all + 32 * c)));
      else
        _mm_mask_storeu_epi8(y, mask, _mm_load_si128((__m128i*)(all + 16 * c)));
  }

  // A row of the result in the channels of one block; y: its first window.
  template <int kWindows, typename Rescale>
  void row(const uint8_t* const* at, int64_t block, uint8_t* y) const {
    const std::integral_constant<int64_t, kLanes> all;
    const auto of = [&](int q) { return Rescale(d.epilogue, block * kBlock + q * kLanes, all); };
    const Rescale rescale[4] = {of(0), of(1), of(2), of(3)};
    const int64_t used = std::min(kBlock / kWindows, w.channels - block * kBlock);
    const __mmask64 mask = ~__mmask64{0} >> (kBlock - used);
    const int32_t* start = d.bias + block * kBlock;
    y += block * kBlock;
    for (int64_t ox = 0; ox < w.out_width; ox += kWindows, y += kWindows * w.outputs) {
      __m512i acc[4];
      for (int q = 0; q < 4; ++q) acc[q] = _mm512_loadu_si512(start + q * kLanes);
      sum<kWindows>(at + ox, block, mask, acc);
      for (int q = 0; q < 4; ++q) acc[q] = (__m512i)rescale[q]((I32)acc[q]);
      const __m512i low = _mm512_packs_epi32(acc[0], acc[1]);
      const __m512i high = _mm512_packs_epi32(acc[2], acc[3]);
      const __m512i byte = _mm512_set1_epi16(0xFF);  // the result may be signed or not
      write<kWindows>(_mm512_packus_epi16(_mm512_and_si512(low, byte), _mm512_and_si512(high, byte)),
                      mask, w.out_width - ox, y);
    }
  }

  template <typename Rescale>
  void row(const uint8_t* const* at, int64_t block, uint8_t* y) const {
    const int64_t left = w.channels - block * kBlock;
    if (left > 32) return row<1, Rescale>(at, block, y);
    if (left > 16) return row<2, Rescale>(at, block, y);
    return row<4, Rescale>(at, block, y);
  }

  // A row of the result; blocks from `first` to `last`.
  void row(int64_t image, int64_t oy, int64_t first, int64_t last) const {
    thread_local std::vector<const uint8_t*> at;
    thread_local std::vector<uint8_t> fill;
    fill.assign(w.channels, d.fill);
    at.assign(4 * fours * w.out_width + 3, fill.data());  // the last few windows may look so far
    Taps<uint8_t>{w, d}.find(image, oy, fill.data(), at.data());
    uint8_t* const y = d.y + (image * w.out_height + oy) * w.out_width * w.outputs;
    for (int64_t block = first; block < last; ++block)
      by_contract(d.epilogue, [&](auto rescale) {
        row<typename decltype(rescale)::Type>(at.data(), block, y);
      });
  }

  void run() const {
    const int64_t rows = w.n * w.out_height;
    const int64_t parts = rows >= 8 * thread_count() ? 1 : std::min(blocks, thread_count());
    parallel_for(rows * parts, [&](int64_t task) {
      const int64_t part = task % parts, row_at = task / parts;
      row(row_at / w.out_height, row_at % w.out_height, blocks * part / parts,
          blocks * (part + 1) / parts);
    });
  }
};

inline void depthwise_by_fours(const Windows& windows, const Depthwise& layer) {
  if (layer.packed == nullptr) return depthwise(windows, layer);
  with_one_filter(windows, layer,
                  [](const Windows& w, const Depthwise& each) { Fours{w, each}.run(); });
}

}  // namespace
}  // namespace qir
