// Kernels for AVX-512 VNNI: four products of u8 by i8 to a 32-bit sum in one instruction.
#if defined(__x86_64__)
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <limits>
#include <utility>
#include <vector>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,prefer-vector-width=512")
#endif
#define QIR_TAPS 4
#define QIR_LANES 16
#include "set.h"

namespace qir {
namespace {

struct Avx512Vnni {
  using Element = uint8_t;
  static constexpr int kAtOnce = 12, kRows = 12;
  static constexpr int64_t kGathered = 1, kColumns = 32, kDepth = 4, kInner = 4;
  static constexpr int64_t kOffset = 128;
  static constexpr bool kCrosses = false;
  using Ready = AlwaysReady;

  // A signed x is moved up by kOffset; the bias makes up for it.
  static uint8_t element(uint8_t stored, bool is_signed) {
    return is_signed ? stored ^ 0x80 : stored;
  }

  template <typename Pending>
  static void multiply(int64_t count, const Left<Element>& left, const int8_t* b,
                       int32_t (*acc)[kColumns], bool, Pending& pending) {
    pending();
    by_count<Avx512Vnni>(count, left, b, acc);
  }

  template <int kCount>
  static void product(const Left<Element>& left, const int8_t* b, int32_t (*acc)[kColumns]) {
    __m512i sums[kCount][2];
#pragma GCC unroll 16  // as below: else the sums are memory
    for (auto& row : sums) row[0] = row[1] = _mm512_setzero_si512();
    for (int64_t run = 0; run < left.runs; ++run) {
      const Element* a = left.rows + left.starts[run];
      for (int64_t k = 0; k < left.steps; ++k, b += kColumns * kDepth) {
        const __m512i low = _mm512_loadu_si512(b), high = _mm512_loadu_si512(b + 64);
        for (int r = 0; r < kCount; ++r) {
          int32_t four;
          std::memcpy(&four, a + r * left.pitch + 4 * k, sizeof(four));
          const __m512i all = _mm512_set1_epi32(four);
          sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], all, low);
          sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], all, high);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kCount; ++r)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) _mm512_store_si512(acc[r] + 16 * h, sums[r][h]);
  }
};

}  // namespace

const Kernels kAvx512Vnni = kernels_of<Avx512Vnni>("avx512vnni");

}  // namespace qir

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
