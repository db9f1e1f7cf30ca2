// Kernels for AVX2: pairs of 16-bit products, two to a 32-bit sum.
#if defined(__x86_64__)
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <limits>
#include <utility>
#include <vector>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define QIR_TAPS 2
#define QIR_LANES 8
#define QIR_SHUFFLES_BYTES
#include "set.h"

namespace qir {
namespace {

struct Avx2 {
  using Element = int16_t;
  static constexpr int kRows = 6;
  static constexpr int64_t kGathered = 1, kColumns = 16, kDepth = 2, kInner = 2;
  static constexpr int64_t kOffset = 0;
  using Ready = AlwaysReady;

  static int16_t element(uint8_t stored, bool is_signed) {
    return is_signed ? static_cast<int8_t>(stored) : stored;
  }

  template <typename Pending>
  static void multiply(int64_t count, const Left<Element>& left, const int8_t* b,
                       int32_t (*acc)[kColumns], bool, Pending& pending) {
    pending();
    by_count<Avx2>(count, left, b, acc);
  }

  template <int kCount, typename Weight>
  static void product(const Left<Element>& left, const Weight* b, int32_t (*acc)[kColumns]) {
    __m256i sums[kCount][2];
#pragma GCC unroll 16  // as below: else the sums are memory
    for (auto& row : sums) row[0] = row[1] = _mm256_setzero_si256();
    for (int64_t run = 0; run < left.runs; ++run) {
      const Element* a = left.rows + left.starts[run];
      for (int64_t k = 0; k < left.steps; ++k, b += kColumns * kDepth) {
        const __m256i low = wide(b), high = wide(b + 16);
        for (int r = 0; r < kCount; ++r) {
          int32_t pair;
          std::memcpy(&pair, a + r * left.pitch + 2 * k, sizeof(pair));
          const __m256i both = _mm256_set1_epi32(pair);
          sums[r][0] = _mm256_add_epi32(sums[r][0], _mm256_madd_epi16(both, low));
          sums[r][1] = _mm256_add_epi32(sums[r][1], _mm256_madd_epi16(both, high));
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kCount; ++r)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h)
        _mm256_store_si256(reinterpret_cast<__m256i*>(acc[r] + 8 * h), sums[r][h]);
  }

  static __m256i wide(const int16_t* b) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  }

  static __m256i wide(const int8_t* b) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  }
};

}  // namespace

const Kernels kAvx2 = kernels_of<Avx2>("avx2");

}  // namespace qir

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
