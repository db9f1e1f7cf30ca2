// f32_half_even for whole tiles with AVX-512: two rows of 32 channels become bytes together, so that
// saturating instructions do most of what clamping would.
#pragma once

#include <cstdint>
#include <immintrin.h>

#include "kernels.h"
#include "lanes.h"

namespace qir {
namespace {

// Rounded half to even. What is beyond 32 bits stays at their end or 2^30: far outside of bytes.
QIR_INLINED __m512i nearest(F32 x) {
  return _mm512_cvtps_epi32(_mm512_min_ps((__m512)x, _mm512_set1_ps(1 << 30)));
}

// From sums without a zero point to stored bytes.
template <bool kSigned>
struct InBytes {
  __m512i zero, low, high;
  __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

  InBytes(int32_t zero, int32_t low, int32_t high)
      : zero(_mm512_set1_epi16(static_cast<int16_t>(zero))),
        low(_mm512_set1_epi8(static_cast<char>(low))),
        high(_mm512_set1_epi8(static_cast<char>(high))) {}

  // values: two registers of a row, then two of the next.
  QIR_INLINED __m512i operator()(const __m512i (&values)[4]) const {
    return _mm512_permutexvar_epi32(order, packed(values));
  }

  // In the order that packing leaves, four of each register in turn.
  QIR_INLINED __m512i packed(const __m512i (&values)[4]) const {
    const __m512i first = _mm512_adds_epi16(_mm512_packs_epi32(values[0], values[1]), zero);
    const __m512i second = _mm512_adds_epi16(_mm512_packs_epi32(values[2], values[3]), zero);
    if constexpr (kSigned) {
      const __m512i bytes = _mm512_packs_epi16(first, second);
      return _mm512_min_epi8(_mm512_max_epi8(bytes, low), high);
    }
    const __m512i bytes = _mm512_packus_epi16(first, second);
    return _mm512_min_epu8(_mm512_max_epu8(bytes, low), high);
  }
};

// Rescaled sums of 32 channels to y[rows][pitch]; residual: nullptr, or what is added to them.
template <bool kSigned, bool kAdds, typename Channels>
QIR_INLINED void half_even(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Channels (&channels)[2], int64_t rows, int64_t channel, uint8_t* y,
                           int64_t pitch) {
  const F32 scale[2] = {load<F32>(e.scale + channel, kLanes),
                        load<F32>(e.scale + channel + kLanes, kLanes)};
  const Residual r = kAdds ? *residual : Residual{0, 0, 0, 0, 0, 0, 0, e.zero, e.low, e.high};
  const InBytes<kSigned> in_bytes(r.zero, r.low, r.high);
  for (int64_t row = 0; row < rows; row += 2) {
    const bool has_second = row + 1 < rows;
    __m512i values[4];
    for (int k = 0; k < 4; ++k) {
      const int64_t at = k < 2 || !has_second ? row : row + 1;
      const I32 sum = channels[k % 2].of(at);
      values[k] = nearest(__builtin_convertvector(sum, F32) * scale[k % 2]);
      if constexpr (kAdds) {
        const uint8_t* from = other + at * pitch + k % 2 * kLanes;
        const I32 theirs = widened_bytes(from, r.is_signed, kLanes) - r.other_zero;
        const I32 mine = clamped((I32)values[k], e.low - e.zero, e.high - e.zero);
        const int32_t half = 1 << r.shift >> 1;
        values[k] = (__m512i)((mine * r.weight + theirs * r.other_weight + half) >> r.shift);
      }
    }
    const __m512i bytes = in_bytes(values);
    auto* to = reinterpret_cast<__m256i*>(y + row * pitch);
    _mm256_storeu_si256(to, _mm512_castsi512_si256(bytes));
    to = reinterpret_cast<__m256i*>(y + (row + 1) * pitch);
    if (has_second) _mm256_storeu_si256(to, _mm512_extracti64x4_epi64(bytes, 1));
  }
}

template <typename Channels>
QIR_INLINED void half_even(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Channels (&channels)[2], int64_t rows, int64_t channel, uint8_t* y,
                           int64_t pitch) {
  const bool is_signed = (residual == nullptr ? e.high : residual->high) <= 127;
  if (residual == nullptr)
    is_signed ? half_even<true, false>(e, residual, other, channels, rows, channel, y, pitch)
              : half_even<false, false>(e, residual, other, channels, rows, channel, y, pitch);
  else
    is_signed ? half_even<true, true>(e, residual, other, channels, rows, channel, y, pitch)
              : half_even<false, true>(e, residual, other, channels, rows, channel, y, pitch);
}

}  // namespace
}  // namespace qir
