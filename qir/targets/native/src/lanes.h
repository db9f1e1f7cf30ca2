// Several channels or elements at a time, in types that every compiler turns into what the set has.
// Arithmetic is by lane; a comparison that holds is -1. QIR_LANES: as many as are 32-bit numbers of
// a register; QIR_VBMI: bytes can be permuted across two.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#define QIR_INLINED inline __attribute__((always_inline))

namespace qir {
namespace {  // each instruction set compiles its own

constexpr int64_t kLanes = QIR_LANES;
using F32 = float __attribute__((vector_size(4 * kLanes)));
using I32 = int32_t __attribute__((vector_size(4 * kLanes)));
using I16 = int16_t __attribute__((vector_size(2 * kLanes)));
using SignedBytes = int8_t __attribute__((vector_size(kLanes)));
using Bytes = uint8_t __attribute__((vector_size(kLanes)));

// Half as many, for 64-bit numbers of which a register holds so many.
constexpr int64_t kHalf = kLanes / 2;
using HalfI32 = int32_t __attribute__((vector_size(4 * kHalf)));
using HalfU32 = uint32_t __attribute__((vector_size(4 * kHalf)));
using HalfI64 = int64_t __attribute__((vector_size(8 * kHalf)));
using HalfF64 = double __attribute__((vector_size(8 * kHalf)));

template <typename Vector, typename Number>
QIR_INLINED Vector load(const Number* from, int64_t lanes) {
  Vector vector{};
  std::memcpy(&vector, from, sizeof(Number) * lanes);
  return vector;
}

template <typename Vector, typename Number>
QIR_INLINED void store(const Vector& vector, Number* to, int64_t lanes) {
  std::memcpy(to, &vector, sizeof(Number) * lanes);
}

QIR_INLINED HalfI64 wide(HalfI32 x) { return __builtin_convertvector(x, HalfI64); }

// Small numbers as 32-bit ones. GCC 12 takes __builtin_convertvector of them apart, lane by lane.
#if QIR_LANES == 16
QIR_INLINED I32 widened(SignedBytes x) { return (I32)_mm512_cvtepi8_epi32((__m128i)x); }
QIR_INLINED I32 widened(Bytes x) { return (I32)_mm512_cvtepu8_epi32((__m128i)x); }
QIR_INLINED I32 widened(I16 x) { return (I32)_mm512_cvtepi16_epi32((__m256i)x); }
#elif QIR_LANES == 8
template <typename Vector>
QIR_INLINED __m128i low_half(Vector x) {
  __m128i whole{};
  std::memcpy(&whole, &x, sizeof(x));
  return whole;
}

QIR_INLINED I32 widened(SignedBytes x) { return (I32)_mm256_cvtepi8_epi32(low_half(x)); }
QIR_INLINED I32 widened(Bytes x) { return (I32)_mm256_cvtepu8_epi32(low_half(x)); }
QIR_INLINED I32 widened(I16 x) { return (I32)_mm256_cvtepi16_epi32((__m128i)x); }
#else
template <typename Vector>
QIR_INLINED I32 widened(Vector x) {
  return __builtin_convertvector(x, I32);
}
#endif

QIR_INLINED I32 widened_bytes(const uint8_t* from, bool is_signed, int64_t lanes) {
  return is_signed ? widened(load<SignedBytes>(from, lanes)) : widened(load<Bytes>(from, lanes));
}

// Products of numbers of 16 bits, the second of them without its sign's copies in the upper half.
QIR_INLINED I32 times(I32 x, I32 y) {
#if QIR_LANES == 16
  return (I32)_mm512_madd_epi16((__m512i)x, (__m512i)y);
#elif QIR_LANES == 8
  return (I32)_mm256_madd_epi16((__m256i)x, (__m256i)y);
#else
  return x * ((y << 16) >> 16);
#endif
}

// The whole of a product of 32-bit numbers.
QIR_INLINED HalfI64 product(HalfI32 x, HalfI32 y) {
#if QIR_LANES == 16
  return (HalfI64)_mm512_mul_epi32((__m512i)wide(x), (__m512i)wide(y));
#elif QIR_LANES == 8
  return (HalfI64)_mm256_mul_epi32((__m256i)wide(x), (__m256i)wide(y));
#else
  return wide(x) * wide(y);
#endif
}

// The lowest byte of each lane. Little-endian sets that have no such instruction say so.
#if defined(QIR_SHUFFLES_BYTES) && __has_builtin(__builtin_shufflevector)
QIR_INLINED Bytes narrow(I32 x) {
  using All = uint8_t __attribute__((vector_size(4 * kLanes)));
  return __builtin_shufflevector((All)x, (All)x, 0, 4, 8, 12, 16, 20, 24, 28);
}
#else
QIR_INLINED Bytes narrow(I32 x) { return __builtin_convertvector(x, Bytes); }
#endif

#if QIR_LANES == 8
// 16 bytes as numbers of 16 bits; and a sum plus the products of such numbers, two by two.
QIR_INLINED __m256i widened_to_16(__m128i bytes, bool is_signed) {
  return is_signed ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
}

QIR_INLINED __m256i plus_pairs(__m256i sum, __m256i x, __m256i y) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
}

// The entries of 16 that the low half of each byte names, of 16 such tables the one that the high half
// does: bit by bit, the highest last.
QIR_INLINED __m256i looked_up(const uint8_t* entries, __m256i x) {
  const __m256i low = _mm256_and_si256(x, _mm256_set1_epi8(0x0F));
  const auto table = [&](int k) {
    const auto* at = reinterpret_cast<const __m128i*>(entries + 16 * k);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(at)), low);
  };
  const __m256i bit4 = _mm256_slli_epi16(x, 3), bit5 = _mm256_slli_epi16(x, 2);
  const __m256i bit6 = _mm256_slli_epi16(x, 1);  // each where a blend looks, in the highest bit
  const auto four = [&](int k) {
    const __m256i first = _mm256_blendv_epi8(table(k), table(k + 1), bit4);
    const __m256i second = _mm256_blendv_epi8(table(k + 2), table(k + 3), bit4);
    return _mm256_blendv_epi8(first, second, bit5);
  };
  const __m256i first = _mm256_blendv_epi8(four(0), four(4), bit6);
  return _mm256_blendv_epi8(first, _mm256_blendv_epi8(four(8), four(12), bit6), x);
}
#endif

// The entry, of 256, that each byte names. AVX-512 VBMI looks 64 up in half of them at once, AVX2 32
// in 16 parts.
QIR_INLINED void looked_up(const uint8_t* entries, const uint8_t* from, int64_t count,
                           uint8_t* to) {
  int64_t i = 0;
#if defined(QIR_VBMI)
  __m512i part[4];
  for (int k = 0; k < 4; ++k) part[k] = _mm512_loadu_si512(entries + 64 * k);
  for (; i + 64 <= count; i += 64) {
    const __m512i x = _mm512_loadu_si512(from + i);
    const __m512i low = _mm512_permutex2var_epi8(part[0], x, part[1]);
    const __m512i high = _mm512_permutex2var_epi8(part[2], x, part[3]);
    _mm512_storeu_si512(to + i, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(x), high));
  }
#elif QIR_LANES == 8
  for (; i + 32 <= count; i += 32) store(looked_up(entries, load<__m256i>(from + i, 32)), to + i, 32);
#endif
  for (; i < count; ++i) to[i] = entries[from[i]];
}

template <typename Vector, typename Number>
QIR_INLINED Vector clamped(Vector x, Number low, Number high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

// Added to an f32 of at most 2**22 it leaves the integer, rounded half to even, in the low bits.
constexpr float kMagic = 12582912.0f;
constexpr int32_t kMagicBits = 0x4B400000;

QIR_INLINED I32 rounded(F32 x) { return (I32)(x + kMagic) - kMagicBits; }

inline int32_t rounded(float x) {
  x += kMagic;
  int32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits - kMagicBits;
}

template <typename T>
struct Named {
  using Type = T;
};

// Runs act(first, lanes) over `count` elements, `lanes` the constant kMost but at the end.
template <int64_t kMost, typename Act>
QIR_INLINED void by_lanes(int64_t count, const Act& act) {
  int64_t i = 0;
  for (; i + kMost <= count; i += kMost) act(i, std::integral_constant<int64_t, kMost>());
  if (i < count) act(i, count - i);
}

}  // namespace
}  // namespace qir
