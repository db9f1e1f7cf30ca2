// Kernels for AMX: 16 rows of 64 bytes by 64 rows of 16 columns in one instruction.
#include "kernels.h"

#if defined(QIR_AMX)
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <immintrin.h>
#include <limits>
#include <utility>
#include <vector>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,avx2,fma,prefer-vector-width=512")
#endif
#define QIR_VBMI
#define QIR_TAPS 4
#define QIR_LANES 16
#include "set.h"

namespace qir {
namespace {

// What the eight tiles are: 0 to 3 sums, 4 and 5 rows, 6 and 7 columns; each 16 rows of 64 bytes.
struct alignas(64) Tiles {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr Tiles kTiles;

struct Amx {
  using Element = uint8_t;
  static constexpr int kAtOnce = 32, kRows = 32;
  static constexpr int64_t kGathered = 16, kColumns = 32, kDepth = 4, kInner = 64, kOffset = 0;
  static constexpr bool kCrosses = false;
  static constexpr int64_t kPitch = kColumns * int64_t{sizeof(int32_t)};

  struct Ready {
    Ready() { _tile_loadconfig(&kTiles); }
    ~Ready() { _tile_release(); }
  };

  static uint8_t element(uint8_t stored, bool) { return stored; }

  template <bool kSigned, bool kTwo>
  QIR_INLINED static void step(const uint8_t* a, int64_t pitch, const int8_t* b) {
    _tile_loadd(6, b, kColumns * kDepth);
    _tile_loadd(7, b + 64, kColumns * kDepth);
    _tile_loadd(4, a, pitch);
    if constexpr (kTwo) _tile_loadd(5, a + 16 * pitch, pitch);
    if constexpr (kSigned) {
      _tile_dpbssd(0, 4, 6);
      _tile_dpbssd(1, 4, 7);
      if constexpr (kTwo) {
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
      }
    } else {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
      if constexpr (kTwo) {
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
      }
    }
  }

  // More than 16 rows: two tiles of them.
  template <bool kSigned, bool kTwo, typename Pending>
  static void product(const Left<Element>& left, const int8_t* b, int32_t (*acc)[kColumns],
                      Pending& pending) {
    asm volatile("" ::: "memory");  // tiles are read behind the compiler's back
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTwo) {
      _tile_zero(2);
      _tile_zero(3);
    }
    for (int64_t run = 0; run < left.runs; ++run) {
      const uint8_t* a = left.rows + left.starts[run];
      for (int64_t k = 0; k < left.steps; k += 16, a += kInner, b += kColumns * kInner) {
        step<kSigned, kTwo>(a, left.pitch, b);
        if (run == 0 && k == 0) pending();
      }
    }
    _tile_stored(0, acc[0], kPitch);
    _tile_stored(1, acc[0] + 16, kPitch);
    if constexpr (kTwo) {
      _tile_stored(2, acc[16], kPitch);
      _tile_stored(3, acc[16] + 16, kPitch);
    }
    asm volatile("" ::: "memory");
  }

  template <typename Pending>
  static void multiply(int64_t count, const Left<Element>& left, const int8_t* b,
                       int32_t (*acc)[kColumns], bool is_signed, Pending& pending) {
    if (count > 16)
      is_signed ? product<true, true>(left, b, acc, pending)
                : product<false, true>(left, b, acc, pending);
    else
      is_signed ? product<true, false>(left, b, acc, pending)
                : product<false, false>(left, b, acc, pending);
  }
};

}  // namespace

const Kernels kAmx = kernels_of<Amx>("amx");

}  // namespace qir

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
