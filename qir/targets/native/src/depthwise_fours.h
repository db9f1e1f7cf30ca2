// A depthwise convolution by products of four taps at once, with AVX-512 VNNI: 64 channels side by
// side, each channel's four bytes brought together, then multiplied and summed by one instruction.
//
// Filters are packed as [taps / 4, channels / 64, 4, 4, 4, 4]: of channel 16 * i + 4 * q + j of a
// block and tap t of its four at [.., .., q, i, j, t], which is where unpacking leaves them. A
// signed x is moved up by 128; the bias makes up for it.
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

  // One window, whose taps are at `at`, `pitch` apart: the sums of a block of channels.
  void sum(const uint8_t* const* at, int64_t pitch, int64_t block, int32_t* sums) const {
    const int64_t first = block * kBlock, used = std::min(kBlock, w.channels - first);
    const __mmask64 mask = ~__mmask64{0} >> (kBlock - used);
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(d.is_signed ? 0x80 : 0));
    const int8_t* filter = d.packed + block * 4 * kBlock;
    __m512i acc[4];
    for (auto& each : acc) each = _mm512_setzero_si512();
    for (int64_t k = 0; k < fours; ++k, at += 4 * pitch, filter += blocks * 4 * kBlock) {
      __m512i x[4];
      for (int t = 0; t < 4; ++t)
        x[t] = _mm512_xor_si512(flip, _mm512_maskz_loadu_epi8(mask, at[t * pitch] + first));
      const __m512i low[2] = {_mm512_unpacklo_epi8(x[0], x[1]), _mm512_unpacklo_epi8(x[2], x[3])};
      const __m512i high[2] = {_mm512_unpackhi_epi8(x[0], x[1]), _mm512_unpackhi_epi8(x[2], x[3])};
      const __m512i seen[4] = {
          _mm512_unpacklo_epi16(low[0], low[1]), _mm512_unpackhi_epi16(low[0], low[1]),
          _mm512_unpacklo_epi16(high[0], high[1]), _mm512_unpackhi_epi16(high[0], high[1])};
      for (int q = 0; q < 4; ++q)
        acc[q] = _mm512_dpbusd_epi32(acc[q], seen[q], _mm512_loadu_si512(filter + q * kBlock));
    }
    for (int q = 0; q < 4; ++q) {  // back into the order of the channels
      const auto to = [&](int i) { return reinterpret_cast<__m128i*>(sums + 16 * i + 4 * q); };
      _mm_storeu_si128(to(0), _mm512_extracti32x4_epi32(acc[q], 0));
      _mm_storeu_si128(to(1), _mm512_extracti32x4_epi32(acc[q], 1));
      _mm_storeu_si128(to(2), _mm512_extracti32x4_epi32(acc[q], 2));
      _mm_storeu_si128(to(3), _mm512_extracti32x4_epi32(acc[q], 3));
    }
  }

  void row(int64_t image, int64_t oy) const {
    thread_local std::vector<const uint8_t*> at;
    thread_local std::vector<uint8_t> fill;
    fill.assign(w.channels, d.fill);
    at.assign(4 * fours * w.out_width, fill.data());
    Taps<uint8_t>{w, d}.find(image, oy, fill.data(), at.data());
    const int64_t place = (image * w.out_height + oy) * w.out_width * w.outputs;
    alignas(64) int32_t sums[kSide][kBlock];
    for (int64_t block = 0; block < blocks; ++block)
      for (int64_t ox = 0; ox < w.out_width; ox += kSide) {
        const int64_t count = std::min(kSide, w.out_width - ox), first = block * kBlock;
        for (int64_t c = 0; c < count; ++c) sum(&at[ox + c], w.out_width, block, sums[c]);
        finish(d.epilogue, nullptr, Sums{count, kBlock, sums[0], d.bias + first, nullptr}, first,
               std::min(kBlock, w.channels - first), d.y, place + ox * w.outputs + first,
               w.outputs);
      }
  }
};

inline void depthwise_by_fours(const Windows& windows, const Depthwise& layer) {
  if (layer.packed == nullptr) return depthwise(windows, layer);
  const Fours fours{windows, layer};
  parallel_for(windows.n * windows.out_height, [&](int64_t task) {
    fours.row(task / windows.out_height, task % windows.out_height);
  });
}

}  // namespace
}  // namespace qir
