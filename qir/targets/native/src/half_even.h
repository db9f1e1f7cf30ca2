// f32_half_even for tiles of two registers to a row, 32 or 16 channels: two rows become bytes
// together, so that saturating instructions do most of what clamping would.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <immintrin.h>

#include "kernels.h"
#include "lanes.h"

namespace qir {
namespace {

#if QIR_LANES == 16
#define QIR_MM(name) _mm512_##name
using Register = __m512i;
using HalfRegister = __m256i;
#else
#define QIR_MM(name) _mm256_##name
using Register = __m256i;
using HalfRegister = __m128i;
#endif

// Rounded half to even. What is beyond 32 bits stays at their end or 2^30, far outside of bytes;
// kSmall: nothing is.
template <bool kSmall>
QIR_INLINED Register nearest(F32 x) {
  const auto reals = reinterpret_cast<decltype(QIR_MM(setzero_ps)())>(x);
  if constexpr (kSmall) return QIR_MM(cvtps_epi32)(reals);
  return QIR_MM(cvtps_epi32)(QIR_MM(min_ps)(reals, QIR_MM(set1_ps)(1 << 30)));
}

// Whether sums of 32 bits times these scales stay within 32 bits.
QIR_INLINED bool are_small(F32 scale) {
#if QIR_LANES == 16
  return _mm512_cmp_ps_mask((__m512)scale, _mm512_set1_ps(0.5f), _CMP_NLE_UQ) == 0;
#else
  const __m256 limit = _mm256_set1_ps(0.5f);
  return _mm256_movemask_ps(_mm256_cmp_ps((__m256)scale, limit, _CMP_NLE_UQ)) == 0;
#endif
}

// Undoes the order that packing four registers leaves: four of each in turn.
QIR_INLINED Register in_order(Register bytes) {
#if QIR_LANES == 16
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
#else
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#endif
}

// The bytes of a row in the order that packing two registers leaves.
QIR_INLINED HalfRegister as_packed(HalfRegister bytes) {
#if QIR_LANES == 16
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
  return _mm_shuffle_epi32(bytes, _MM_SHUFFLE(3, 1, 2, 0));
#endif
}

QIR_INLINED HalfRegister lower(Register x) {
#if QIR_LANES == 16
  return _mm512_castsi512_si256(x);
#else
  return _mm256_castsi256_si128(x);
#endif
}

QIR_INLINED HalfRegister upper(Register x) {
#if QIR_LANES == 16
  return _mm512_extracti64x4_epi64(x, 1);
#else
  return _mm256_extracti128_si256(x, 1);
#endif
}

// From sums without a zero point to stored bytes.
template <bool kSigned>
struct InBytes {
  Register zero, low, high;

  InBytes(int32_t zero, int32_t low, int32_t high)
      : zero(QIR_MM(set1_epi16)(static_cast<int16_t>(zero))),
        low(QIR_MM(set1_epi8)(static_cast<char>(low))),
        high(QIR_MM(set1_epi8)(static_cast<char>(high))) {}

  // The sums of two registers of a row and two of the next, in the order that packing leaves: four
  // of each register in turn.
  QIR_INLINED Register packed(const Register (&values)[4]) const {
    return packed(QIR_MM(packs_epi32)(values[0], values[1]),
                  QIR_MM(packs_epi32)(values[2], values[3]));
  }

  QIR_INLINED Register packed(Register first, Register second) const {
    first = QIR_MM(adds_epi16)(first, zero), second = QIR_MM(adds_epi16)(second, zero);
    if constexpr (kSigned) {
      const Register bytes = QIR_MM(packs_epi16)(first, second);
      return QIR_MM(min_epi8)(QIR_MM(max_epi8)(bytes, low), high);
    }
    const Register bytes = QIR_MM(packus_epi16)(first, second);
    return QIR_MM(min_epu8)(QIR_MM(max_epu8)(bytes, low), high);
  }
};

// What a row of rescaled sums becomes by a shortcut, in 16 bits as packing orders them. A pair
// of values meets a pair of weights in one instruction; weights of more than 16 bits are two pairs,
// the low 8 bits by themselves.
template <bool kWide>
struct WithShortcut {
  static constexpr int kLow = kWide ? 8 : 0;
  Register low, high, weights, rest, half, shift;
  bool is_signed;

  WithShortcut(const Epilogue& e, const Residual& r)
      : low(QIR_MM(set1_epi16)(static_cast<int16_t>(e.low - e.zero))),
        high(QIR_MM(set1_epi16)(static_cast<int16_t>(e.high - e.zero))),
        weights(pair(r.weight >> kLow, r.other_weight >> kLow)),
        rest(pair(r.weight & 0xFF, r.other_weight & 0xFF)),
        half(QIR_MM(set1_epi32)((1 << r.shift >> 1) - r.other_zero * r.other_weight)),
        shift(QIR_MM(set1_epi32)(r.shift)),
        is_signed(r.is_signed) {}

  static Register pair(int32_t mine, int32_t theirs) {
    return QIR_MM(set1_epi32)((mine & 0xFFFF) | static_cast<int32_t>(uint32_t(theirs) << 16));
  }

  QIR_INLINED Register sum(Register pairs) const {
    Register total = QIR_MM(madd_epi16)(pairs, weights);
    if constexpr (kWide)
      total = QIR_MM(add_epi32)(QIR_MM(slli_epi32)(total, kLow), QIR_MM(madd_epi16)(pairs, rest));
    return QIR_MM(srav_epi32)(QIR_MM(add_epi32)(total, half), shift);
  }

  // mine: in the order of packing; theirs: stored, in the order of channels.
  QIR_INLINED Register operator()(Register mine, HalfRegister theirs) const {
    theirs = as_packed(theirs);
    const Register other =
        is_signed ? QIR_MM(cvtepi8_epi16)(theirs) : QIR_MM(cvtepu8_epi16)(theirs);
    mine = QIR_MM(min_epi16)(QIR_MM(max_epi16)(mine, low), high);
    return QIR_MM(packs_epi32)(sum(QIR_MM(unpacklo_epi16)(mine, other)),
                              sum(QIR_MM(unpackhi_epi16)(mine, other)));
  }
};

// Which of the channels of a tile there are. Masks cost where there are all of them.
template <bool kAll>
struct Used {
#if QIR_LANES == 16
  __mmask32 mask;
  __mmask16 half[2];

  explicit Used(int64_t count)
      : mask(static_cast<__mmask32>(~uint32_t{0} >> (2 * kLanes - count))),
        half{static_cast<__mmask16>(mask), static_cast<__mmask16>(mask >> kLanes)} {}

  template <typename Number>
  QIR_INLINED Register some(const Number* from, int k) const {
    return _mm512_maskz_loadu_epi32(half[k], from);
  }

  QIR_INLINED HalfRegister some(const uint8_t* from) const {
    return _mm256_maskz_loadu_epi8(mask, from);
  }

  QIR_INLINED void store_some(HalfRegister bytes, uint8_t* to) const {
    _mm256_mask_storeu_epi8(to, mask, bytes);
  }
#else
  int64_t count;

  explicit Used(int64_t all) : count(all) {}

  template <typename Number>
  QIR_INLINED Register some(const Number* from, int k) const {
    Register words{};
    std::memcpy(&words, from, sizeof(Number) * std::clamp<int64_t>(count - k * kLanes, 0, kLanes));
    return words;
  }

  QIR_INLINED HalfRegister some(const uint8_t* from) const {
    HalfRegister bytes{};
    std::memcpy(&bytes, from, count);
    return bytes;
  }

  QIR_INLINED void store_some(HalfRegister bytes, uint8_t* to) const {
    if (count >= 8) _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
    const int64_t left = count % 8;
    if (left == 0) return;
    const auto rest = count >= 8 ? _mm_unpackhi_epi64(bytes, bytes) : bytes;
    std::memcpy(to + count - left, &rest, left);
  }
#endif

  template <typename Number>
  QIR_INLINED Register words(const Number* from, int k) const {
    static_assert(sizeof(Number) == 4);
    from += k * kLanes;
    if constexpr (kAll) return load<Register>(from, kLanes);
    return some(from, k);
  }

  QIR_INLINED HalfRegister bytes(const uint8_t* from) const {
    if constexpr (kAll) return load<HalfRegister>(from, 2 * kLanes);
    return some(from);
  }

  QIR_INLINED void store(HalfRegister bytes, uint8_t* to) const {
    if constexpr (kAll)
      std::memcpy(to, &bytes, sizeof(bytes));
    else
      store_some(bytes, to);
  }
};

// What there is of each channel of a tile: what its sum starts with, and the scale of it.
struct Numbers {
  I32 start[2];
  F32 scale[2];
};

template <bool kSmall>
QIR_INLINED Register rescaled_row(const Sums& sums, int64_t row, const Numbers& numbers) {
  Register values[2];
  for (int k = 0; k < 2; ++k) {
    I32 sum = load<I32>(sums.products + row * sums.pitch + k * kLanes, kLanes) + numbers.start[k];
    if (sums.taken != nullptr) sum -= sums.taken[row];
    values[k] = nearest<kSmall>(__builtin_convertvector(sum, F32) * numbers.scale[k]);
  }
  return QIR_MM(packs_epi32)(values[0], values[1]);
}

// Stores y[rows][pitch], each row what shortcut(the row in 16 bits, where it is in y) gives.
template <bool kSmall, bool kSigned, bool kAll, typename Shortcut>
QIR_INLINED void store_rows(const InBytes<kSigned>& in_bytes, const Sums& sums,
                           const Numbers& numbers, const Used<kAll>& used, uint8_t* y,
                           int64_t pitch, const Shortcut& shortcut) {
  int64_t row = 0, at = 0;  // at: of the row in y
  for (; row + 1 < sums.rows; row += 2, at += 2 * pitch) {
    const Register bytes = in_order(
        in_bytes.packed(shortcut(rescaled_row<kSmall>(sums, row, numbers), at),
                        shortcut(rescaled_row<kSmall>(sums, row + 1, numbers), at + pitch)));
    used.store(lower(bytes), y + at);
    used.store(upper(bytes), y + at + pitch);
  }
  if (row < sums.rows) {
    const Register last = shortcut(rescaled_row<kSmall>(sums, row, numbers), at);
    const Register bytes = in_order(in_bytes.packed(last, last));
    used.store(lower(bytes), y + at);
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
        [](Register mine, int64_t) __attribute__((always_inline)) { return mine; });
  const Residual& r = *residual;
  const InBytes<kSigned> in_bytes(r.zero, r.low, r.high);
  const auto add = [&](const auto& with) __attribute__((always_inline)) {
    store_rows<kSmall>(in_bytes, sums, numbers, used, y, pitch,
                       [&](Register mine, int64_t at) __attribute__((always_inline)) {
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
