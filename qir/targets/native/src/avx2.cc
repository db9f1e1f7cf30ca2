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
  static constexpr int kAtOnce = 6, kRows = 8 * kAtOnce;
  static constexpr int64_t kGathered = 1, kColumns = 16, kDepth = 2, kInner = 4;
  static constexpr int64_t kOffset = 0;
  static constexpr bool kCrosses = false;
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
          const __m256i both = pair(a + r * left.pitch + 2 * k);
          sums[r][0] = plus_pairs(sums[r][0], both, low);
          sums[r][1] = plus_pairs(sums[r][1], both, high);
        }
      }
    }
    stored<kCount>(sums, acc);
  }

  template <int kCount>
  static void stored(const __m256i (&sums)[kCount][2], int32_t (*acc)[kColumns]) {
#pragma GCC unroll 16
    for (int r = 0; r < kCount; ++r)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h)
        _mm256_store_si256(reinterpret_cast<__m256i*>(acc[r] + 8 * h), sums[r][h]);
  }

  static __m256i pair(const Element* a) {
    int32_t both;
    std::memcpy(&both, a, sizeof(both));
    return _mm256_set1_epi32(both);
  }

  static __m256i wide(const int16_t* b) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  }

  static __m256i wide(const int8_t* b) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  }
};

// Half as many multiplications, which are what such a processor has least units for, by Winograd's
// inner product (1968, doi:10.1109/TC.1968.227420): x0 w0 + x2 w2 is (x0 + w2) (x2 + w0) without
// x0 x2, which a row has in common with all columns, and w0 w2, which is in the bias.
struct Avx2Crossed {
  using Element = int16_t;
  static constexpr int kAtOnce = 4, kRows = 12 * kAtOnce;
  static constexpr int64_t kGathered = 1, kColumns = 16, kDepth = 2, kInner = 4;
  static constexpr int64_t kOffset = 0;
  static constexpr bool kCrosses = true;
  using Ready = AlwaysReady;

  static int16_t element(uint8_t stored, bool is_signed) { return Avx2::element(stored, is_signed); }

  template <typename Pending>
  static void multiply(int64_t count, const Left<Element>& left, const int8_t* b,
                       int32_t (*acc)[kColumns], bool, Pending& pending) {
    pending();
    by_count<Avx2Crossed>(count, left, b, acc);
  }

  template <int kCount>
  static void product(const Left<Element>& left, const int8_t* b, int32_t (*acc)[kColumns]) {
    __m256i sums[kCount][2];
#pragma GCC unroll 4  // as below: else the sums are memory
    for (auto& row : sums) row[0] = row[1] = _mm256_setzero_si256();
    for (int64_t run = 0; run < left.runs; ++run) {
      const Element* a = left.rows + left.starts[run];
      const Element* c = a + 2 * left.pitch;  // rows 2 and 3, so that two registers point to all
      for (int64_t k = 0; k < left.steps; k += 2, a += 4, c += 4, b += 2 * kColumns * kDepth) {
        __m256i low[2] = {Avx2::wide(b), Avx2::wide(b + 2 * kColumns)};
        __m256i high[2] = {Avx2::wide(b + kColumns), Avx2::wide(b + 3 * kColumns)};
        __asm__("" : "+x"(low[0]), "+x"(low[1]), "+x"(high[0]), "+x"(high[1]));  // read them once
#pragma GCC unroll 4
        for (int r = 0; r < kCount; ++r) {
          const Element* row = (r < 2 ? a : c) + r % 2 * left.pitch;
          const __m256i x = Avx2::pair(row), y = Avx2::pair(row + 2);
          sums[r][0] = plus_pairs(sums[r][0], _mm256_add_epi16(x, low[1]), _mm256_add_epi16(y, low[0]));
          sums[r][1] = plus_pairs(sums[r][1], _mm256_add_epi16(x, high[1]), _mm256_add_epi16(y, high[0]));
        }
      }
    }
    Avx2::stored<kCount>(sums, acc);
  }

  // What a row adds to every sum: x0 x2 + x1 x3 of every four of its elements.
  static int32_t taken(const Left<Element>& left, int64_t row) {
    __m256i twice = _mm256_setzero_si256();
    int32_t sum = 0;
    for (int64_t run = 0; run < left.runs; ++run) {
      const Element* x = left.rows + row * left.pitch + left.starts[run];
      int64_t k = 0;
      for (; k + 16 <= 2 * left.steps; k += 16) {
        const __m256i all = Avx2::wide(x + k);
        twice = _mm256_add_epi32(
            twice, _mm256_madd_epi16(all, _mm256_shuffle_epi32(all, _MM_SHUFFLE(2, 3, 0, 1))));
      }
      for (; k < 2 * left.steps; k += 4) sum += x[k] * x[k + 2] + x[k + 1] * x[k + 3];
    }
    int32_t lanes[8];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), twice);
    for (int i = 0; i < 8; i += 2) sum += lanes[i];
    return sum;
  }
};

}  // namespace

const Kernels kAvx2 = kernels_of<Avx2, Avx2Crossed>("avx2");

}  // namespace qir

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
