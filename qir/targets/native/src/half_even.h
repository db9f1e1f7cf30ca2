// f32_half_even for tiles with AVX-512: two rows of 32 channels become bytes together, so that
// saturating instructions do most of what clamping would.
#pragma once

#include <cstdint>
#include <immintrin.h>

#include "kernels.h"
#include "lanes.h"

namespace qir {
namespace {

// Rounded half to even. What is beyond 32 bits stays at their end or 2^30, far outside of bytes;
// kSmall: nothing is.
template <bool kSmall>
QIR_INLINED __m512i nearest(F32 x) {
  if constexpr (kSmall) return _mm512_cvtps_epi32((__m512)x);
  return _mm512_cvtps_epi32(_mm512_min_ps((__m512)x, _mm512_set1_ps(1 << 30)));
}

// Whether sums of 32 bits times these scales stay within 32 bits.
QIR_INLINED bool are_small(F32 scale) {
  return _mm512_cmp_ps_mask((__m512)scale, _mm512_set1_ps(0.5f), _CMP_NLE_UQ) == 0;
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

// Which of the 32 channels of a tile there are. Masks cost where there are all of them.
template <bool kAll>
struct Used {
  __mmask32 mask;
  __mmask16 half[2];

  explicit Used(int64_t count)
      : mask(static_cast<__mmask32>(~uint32_t{0} >> (2 * kLanes - count))),
        half{static_cast<__mmask16>(mask), static_cast<__mmask16>(mask >> kLanes)} {}

  template <typename Number>
  QIR_INLINED __m512i words(const Number* from, int k) const {
    static_assert(sizeof(Number) == 4);
    if constexpr (kAll) return _mm512_loadu_si512(from + k * kLanes);
    return _mm512_maskz_loadu_epi32(half[k], from + k * kLanes);
  }

  QIR_INLINED I32 widened_bytes(const uint8_t* from, bool is_signed, int k) const {
    if constexpr (kAll) return qir::widened_bytes(from + k * kLanes, is_signed, kLanes);
    const __m128i bytes = _mm_maskz_loadu_epi8(half[k], from + k * kLanes);
    return is_signed ? widened((SignedBytes)bytes) : widened((Bytes)bytes);
  }

  QIR_INLINED void store(__m256i bytes, uint8_t* to) const {
    if constexpr (kAll)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    else
      _mm256_mask_storeu_epi8(to, mask, bytes);
  }
};

// Rescaled sums of 32 channels, which start with nothing and of which some are used, to y[rows][pitch]; residual: nullptr, or what
// is added to them.
template <bool kSmall, bool kSigned, bool kAdds, bool kAll>
QIR_INLINED void half_even(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Sums& sums, const F32 (&scale)[2], const Used<kAll>& used,
                           uint8_t* y, int64_t pitch) {
  const Residual r = kAdds ? *residual : Residual{0, 0, 0, 0, 0, 0, 0, e.zero, e.low, e.high};
  const InBytes<kSigned> in_bytes(r.zero, r.low, r.high);
  for (int64_t row = 0; row < sums.rows; row += 2) {
    const bool has_second = row + 1 < sums.rows;
    __m512i values[4];
    for (int k = 0; k < 4; ++k) {
      const int64_t at = k < 2 || !has_second ? row : row + 1;
      I32 sum = load<I32>(sums.products + at * sums.pitch + k % 2 * kLanes, kLanes);
      if (sums.taken != nullptr) sum -= sums.taken[at];
      values[k] = nearest<kSmall>(__builtin_convertvector(sum, F32) * scale[k % 2]);
      if constexpr (kAdds) {
        const I32 theirs =
            used.widened_bytes(other + at * pitch, r.is_signed, k % 2) - r.other_zero;
        const I32 mine = clamped((I32)values[k], e.low - e.zero, e.high - e.zero);
        const int32_t half = 1 << r.shift >> 1;
        values[k] = (__m512i)((mine * r.weight + theirs * r.other_weight + half) >> r.shift);
      }
    }
    const __m512i bytes = in_bytes(values);
    used.store(_mm512_castsi512_si256(bytes), y + row * pitch);
    if (has_second) used.store(_mm512_extracti64x4_epi64(bytes, 1), y + (row + 1) * pitch);
  }
}

template <bool kSmall, bool kAll>
QIR_INLINED void half_even(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Sums& sums, const F32 (&scale)[2], const Used<kAll>& used,
                           uint8_t* y, int64_t pitch) {
  const bool is_signed = (residual == nullptr ? e.high : residual->high) <= 127;
  if (residual == nullptr)
    is_signed ? half_even<kSmall, true, false>(e, residual, other, sums, scale, used, y, pitch)
              : half_even<kSmall, false, false>(e, residual, other, sums, scale, used, y, pitch);
  else
    is_signed ? half_even<kSmall, true, true>(e, residual, other, sums, scale, used, y, pitch)
              : half_even<kSmall, false, true>(e, residual, other, sums, scale, used, y, pitch);
}

template <bool kAll>
QIR_INLINED void half_even(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Sums& sums, int64_t channel, const Used<kAll>& used, uint8_t* y,
                           int64_t pitch) {
  const float* from = e.scale + channel;
  const F32 scale[2] = {(F32)used.words(from, 0), (F32)used.words(from, 1)};
  if (are_small(scale[0]) && are_small(scale[1]))
    half_even<true>(e, residual, other, sums, scale, used, y, pitch);
  else
    half_even<false>(e, residual, other, sums, scale, used, y, pitch);
}

}  // namespace
}  // namespace qir
