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

  // The sums of two registers of a row and two of the next, in the order that packing leaves: four
  // of each register in turn.
  QIR_INLINED __m512i packed(const __m512i (&values)[4]) const {
    return packed(_mm512_packs_epi32(values[0], values[1]),
                  _mm512_packs_epi32(values[2], values[3]));
  }

  QIR_INLINED __m512i packed(__m512i first, __m512i second) const {
    first = _mm512_adds_epi16(first, zero), second = _mm512_adds_epi16(second, zero);
    if constexpr (kSigned) {
      const __m512i bytes = _mm512_packs_epi16(first, second);
      return _mm512_min_epi8(_mm512_max_epi8(bytes, low), high);
    }
    const __m512i bytes = _mm512_packus_epi16(first, second);
    return _mm512_min_epu8(_mm512_max_epu8(bytes, low), high);
  }

  // Two rows behind each other, from what packing left.
  QIR_INLINED __m512i in_order(__m512i bytes) const {
    return _mm512_permutexvar_epi32(order, bytes);
  }
};

// What a row of 32 rescaled sums becomes by a shortcut, in 16 bits as packing orders them. A pair
// of values meets a pair of weights in one instruction; weights of more than 16 bits are two pairs,
// the low 8 bits by themselves.
template <bool kWide>
struct WithShortcut {
  static constexpr int kLow = kWide ? 8 : 0;
  __m512i low, high, weights, rest, half, shift;
  __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  bool is_signed;

  WithShortcut(const Epilogue& e, const Residual& r)
      : low(_mm512_set1_epi16(static_cast<int16_t>(e.low - e.zero))),
        high(_mm512_set1_epi16(static_cast<int16_t>(e.high - e.zero))),
        weights(pair(r.weight >> kLow, r.other_weight >> kLow)),
        rest(pair(r.weight & 0xFF, r.other_weight & 0xFF)),
        half(_mm512_set1_epi32((1 << r.shift >> 1) - r.other_zero * r.other_weight)),
        shift(_mm512_set1_epi32(r.shift)),
        is_signed(r.is_signed) {}

  static __m512i pair(int32_t mine, int32_t theirs) {
    return _mm512_set1_epi32((mine & 0xFFFF) | static_cast<int32_t>(uint32_t(theirs) << 16));
  }

  QIR_INLINED __m512i sum(__m512i pairs) const {
    __m512i total = _mm512_madd_epi16(pairs, weights);
    if constexpr (kWide)
      total = _mm512_add_epi32(_mm512_slli_epi32(total, kLow), _mm512_madd_epi16(pairs, rest));
    return _mm512_srav_epi32(_mm512_add_epi32(total, half), shift);
  }

  // mine: in the order of packing; theirs: stored, in the order of channels.
  QIR_INLINED __m512i operator()(__m512i mine, __m256i theirs) const {
    theirs = _mm256_permutevar8x32_epi32(theirs, order);
    const __m512i other =
        is_signed ? _mm512_cvtepi8_epi16(theirs) : _mm512_cvtepu8_epi16(theirs);
    mine = _mm512_min_epi16(_mm512_max_epi16(mine, low), high);
    return _mm512_packs_epi32(sum(_mm512_unpacklo_epi16(mine, other)),
                              sum(_mm512_unpackhi_epi16(mine, other)));
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

  QIR_INLINED __m256i bytes(const uint8_t* from) const {
    if constexpr (kAll) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm256_maskz_loadu_epi8(mask, from);
  }

  QIR_INLINED void store(__m256i bytes, uint8_t* to) const {
    if constexpr (kAll)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    else
      _mm256_mask_storeu_epi8(to, mask, bytes);
  }
};

// What there is of each of 32 channels: what its sum starts with, and the scale of it.
struct Numbers {
  I32 start[2];
  F32 scale[2];
};

template <bool kSmall>
QIR_INLINED __m512i rescaled_row(const Sums& sums, int64_t row, const Numbers& numbers) {
  __m512i values[2];
  for (int k = 0; k < 2; ++k) {
    I32 sum = load<I32>(sums.products + row * sums.pitch + k * kLanes, kLanes) + numbers.start[k];
    if (sums.taken != nullptr) sum -= sums.taken[row];
    values[k] = nearest<kSmall>(__builtin_convertvector(sum, F32) * numbers.scale[k]);
  }
  return _mm512_packs_epi32(values[0], values[1]);
}

// Stores y[rows][pitch], each row what shortcut(the row in 16 bits, where it is in y) gives.
template <bool kSmall, bool kSigned, bool kAll, typename Shortcut>
QIR_INLINED void store_rows(const InBytes<kSigned>& in_bytes, const Sums& sums,
                           const Numbers& numbers, const Used<kAll>& used, uint8_t* y,
                           int64_t pitch, const Shortcut& shortcut) {
  int64_t row = 0, at = 0;  // at: of the row in y
  for (; row + 1 < sums.rows; row += 2, at += 2 * pitch) {
    const __m512i bytes = in_bytes.in_order(
        in_bytes.packed(shortcut(rescaled_row<kSmall>(sums, row, numbers), at),
                        shortcut(rescaled_row<kSmall>(sums, row + 1, numbers), at + pitch)));
    used.store(_mm512_castsi512_si256(bytes), y + at);
    used.store(_mm512_extracti64x4_epi64(bytes, 1), y + at + pitch);
  }
  if (row < sums.rows) {
    const __m512i last = shortcut(rescaled_row<kSmall>(sums, row, numbers), at);
    const __m512i bytes = in_bytes.in_order(in_bytes.packed(last, last));
    used.store(_mm512_castsi512_si256(bytes), y + at);
  }
}

QIR_INLINED bool is_short(int32_t x) { return x == static_cast<int16_t>(x); }

// residual: nullptr, or what is added; other: its values, as y lies.
template <bool kSmall, bool kSigned, bool kAll>
QIR_INLINED void store_sums(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Sums& sums, const Numbers& numbers, const Used<kAll>& used,
                           uint8_t* y, int64_t pitch) {
  if (residual == nullptr)
    return store_rows<kSmall>(
        InBytes<kSigned>(e.zero, e.low, e.high), sums, numbers, used, y, pitch,
        [](__m512i mine, int64_t) __attribute__((always_inline)) { return mine; });
  const Residual& r = *residual;
  const InBytes<kSigned> in_bytes(r.zero, r.low, r.high);
  const auto add = [&](const auto& with) __attribute__((always_inline)) {
    store_rows<kSmall>(in_bytes, sums, numbers, used, y, pitch,
                       [&](__m512i mine, int64_t at) __attribute__((always_inline)) {
                         return with(mine, used.bytes(other + at));
                       });
  };
  if (is_short(r.weight) && is_short(r.other_weight))
    add(WithShortcut<false>(e, r));
  else
    add(WithShortcut<true>(e, r));
}

template <bool kSmall, bool kAll>
QIR_INLINED void half_even(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Sums& sums, const Numbers& numbers, const Used<kAll>& used,
                           uint8_t* y, int64_t pitch) {
  const bool is_signed = (residual == nullptr ? e.high : residual->high) <= 127;
  is_signed ? store_sums<kSmall, true>(e, residual, other, sums, numbers, used, y, pitch)
            : store_sums<kSmall, false>(e, residual, other, sums, numbers, used, y, pitch);
}

template <bool kAll>
QIR_INLINED void half_even(const Epilogue& e, const Residual* residual, const uint8_t* other,
                           const Sums& sums, int64_t channel, const Used<kAll>& used, uint8_t* y,
                           int64_t pitch) {
  const float* from = e.scale + channel;
  const Numbers numbers{{(I32)used.words(sums.start, 0), (I32)used.words(sums.start, 1)},
                        {(F32)used.words(from, 0), (F32)used.words(from, 1)}};
  if (are_small(numbers.scale[0]) && are_small(numbers.scale[1]))
    half_even<true>(e, residual, other, sums, numbers, used, y, pitch);
  else
    half_even<false>(e, residual, other, sums, numbers, used, y, pitch);
}

}  // namespace
}  // namespace qir
