// A depthwise convolution by products of four taps at once, with AVX-512 VNNI: 64 channels side by
// side, each channel's four bytes brought together, then multiplied and summed by one instruction.
//
// The four lie across a line of the result, so that neighbouring windows share what is brought
// together: each column of a line is made once, and windows read their columns. Unpacking leaves
// channel 16 * i + 4 * q + j of a block in lane 4 * i + j of register q; packing undoes that.
// Filters are packed as [taps along the line, taps across it / 4, blocks, q, i, j, tap], and what
// there is a number of by channel as [blocks, q, i, j]. Where the last block has at most 32
// channels, or 16, it holds them twice, or four times, for as many parts of a line at once. A signed
// x is moved up by 128; the bias makes up for it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <immintrin.h>

#include "depthwise.h"
#include "kernels.h"
#include "lines.h"
#include "requantize.h"
#include "scratch.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kBlock = 64, kFour = 4 * kBlock;

// Four registers of 32-bit numbers to bytes in the order of the channels.
template <typename Rescale>
struct Packed {
  Rescale rescale[4];

  Packed(const Epilogue& e, int64_t first)
      : rescale{of(e, first), of(e, first + kLanes), of(e, first + 2 * kLanes),
                of(e, first + 3 * kLanes)} {}

  static Rescale of(const Epilogue& e, int64_t first) {
    return Rescale(e, first, std::integral_constant<int64_t, kLanes>());
  }

  QIR_INLINED __m512i operator()(const __m512i (&sums)[4]) const {
    __m512i y[4];
    for (int q = 0; q < 4; ++q) y[q] = (__m512i)rescale[q]((I32)sums[q]);
    const __m512i byte = _mm512_set1_epi16(0xFF);  // the result may be signed or not
    return _mm512_packus_epi16(_mm512_and_si512(_mm512_packs_epi32(y[0], y[1]), byte),
                               _mm512_and_si512(_mm512_packs_epi32(y[2], y[3]), byte));
  }
};

template <bool kSigned>
struct PackedHalfEven {
  F32 scale[4];
  InBytes<kSigned> in_bytes;

  PackedHalfEven(const Epilogue& e, int64_t first) : in_bytes(e.zero, e.low, e.high) {
    for (int q = 0; q < 4; ++q) scale[q] = load<F32>(e.scale + first + q * kLanes, kLanes);
  }

  QIR_INLINED __m512i operator()(const __m512i (&sums)[4]) const {
    __m512i y[4];
    for (int q = 0; q < 4; ++q)
      y[q] = nearest<false>(__builtin_convertvector((I32)sums[q], F32) * scale[q]);
    return in_bytes.packed(y);
  }
};

struct Fours {
  const Windows& w;
  const Depthwise& d;
  Lines<4, kBlock> lines{w};
  const Axis& along = lines.along;
  int64_t fours = lines.groups;
  __m512i flip = _mm512_set1_epi8(static_cast<char>(d.is_signed ? 0x80 : 0));

  // A block of a line, of which kWindows parts of `part` windows are computed side by side.
  template <int kWindows>
  struct Line {
    const Tap* taps;
    const uint8_t* fill;
    __mmask64 mask;
    int64_t part, block;
    uint8_t* y;
  };

  // What one tap sees at a column of each part.
  template <int kWindows>
  QIR_INLINED __m512i seen(const Line<kWindows>& line, const Tap& tap, int64_t column) const {
    const auto at = [&](int k) {
      const int64_t x = column + k * line.part * along.stride;
      return x >= 0 && x < along.size ? tap.from + x * tap.pitch : line.fill;
    };
    if constexpr (kWindows == 1) return _mm512_maskz_loadu_epi8(line.mask, at(0));
    if constexpr (kWindows == 2) {
      const __m256i low = _mm256_maskz_loadu_epi8(line.mask, at(0));
      const __m256i high = _mm256_maskz_loadu_epi8(line.mask, at(1));
      return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    const auto quarter = [&](int k) { return _mm_maskz_loadu_epi8(line.mask, at(k)); };
    __m512i all = _mm512_castsi128_si512(quarter(0));
    all = _mm512_inserti32x4(all, quarter(1), 1);
    all = _mm512_inserti32x4(all, quarter(2), 2);
    return _mm512_inserti32x4(all, quarter(3), 3);
  }

  // Brings the taps of a column together, [fours][q][64].
  template <int kWindows>
  QIR_INLINED void bring(const Line<kWindows>& line, int64_t column, uint8_t* to) const {
    const Tap* tap = line.taps;
    for (int64_t f = 0; f < fours; ++f, tap += 4, to += kFour) {
      __m512i x[4];
      for (int t = 0; t < 4; ++t)
        x[t] = _mm512_xor_si512(flip, seen<kWindows>(line, tap[t], column));
      const __m512i low[2] = {_mm512_unpacklo_epi8(x[0], x[1]), _mm512_unpacklo_epi8(x[2], x[3])};
      const __m512i high[2] = {_mm512_unpackhi_epi8(x[0], x[1]), _mm512_unpackhi_epi8(x[2], x[3])};
      _mm512_store_si512(to, _mm512_unpacklo_epi16(low[0], low[1]));
      _mm512_store_si512(to + kBlock, _mm512_unpackhi_epi16(low[0], low[1]));
      _mm512_store_si512(to + 2 * kBlock, _mm512_unpacklo_epi16(high[0], high[1]));
      _mm512_store_si512(to + 3 * kBlock, _mm512_unpackhi_epi16(high[0], high[1]));
    }
  }

  // Adds up the taps of kSide neighbouring windows, the first of which begins at `from`.
  template <int kSide>
  QIR_INLINED void sum(const uint8_t* from, int64_t block, __m512i (&acc)[kSide][4]) const {
    const int64_t next = along.stride * fours * kFour;
    const int8_t* filter = d.packed + block * kFour;
    for (int c = 0; c < kSide; ++c)
      for (int q = 0; q < 4; ++q)
        acc[c][q] = _mm512_loadu_si512(d.bias + block * kBlock + q * kLanes);
    for (int64_t j = 0; j < along.kernel; ++j, from += along.dilation * fours * kFour)
      for (int64_t f = 0; f < fours; ++f, filter += lines.blocks * kFour)
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q) {
          const __m512i by = _mm512_loadu_si512(filter + q * kBlock);
          const uint8_t* column = from + f * kFour + q * kBlock;
#pragma GCC unroll 4
          for (int c = 0; c < kSide; ++c)
            acc[c][q] = _mm512_dpbusd_epi32(acc[c][q], _mm512_load_si512(column + c * next), by);
        }
  }

  // One window of each part, those that exist.
  template <int kWindows>
  QIR_INLINED void write(const Line<kWindows>& line, __m512i bytes, int64_t ox) const {
    uint8_t* y = line.y + ox * along.y_pitch;
    if constexpr (kWindows == 1) return _mm512_mask_storeu_epi8(y, line.mask, bytes);
    alignas(64) uint8_t all[kBlock];
    _mm512_store_si512(all, bytes);
    for (int k = 0; k < kWindows && ox < along.out; ++k, ox += line.part)
      if constexpr (kWindows == 2)
        _mm256_mask_storeu_epi8(y + k * line.part * along.y_pitch, line.mask,
                                _mm256_load_si256((__m256i*)(all + 32 * k)));
      else
        _mm_mask_storeu_epi8(y + k * line.part * along.y_pitch, line.mask,
                             _mm_load_si128((__m128i*)(all + 16 * k)));
  }

  template <int kSide, int kWindows, typename Pack>
  QIR_INLINED void some(const Line<kWindows>& line, const uint8_t* from, int64_t ox,
                        const Pack& pack) const {
    __m512i acc[kSide][4];
    sum<kSide>(from, line.block, acc);
#pragma GCC unroll 4
    for (int c = 0; c < kSide; ++c) write<kWindows>(line, pack(acc[c]), ox + c);
  }

  // The windows of each part from `first` to `last`.
  template <int kWindows, typename Pack>
  void windows(const Line<kWindows>& line, int64_t first, int64_t last, uint8_t* columns) const {
    const Pack pack(d.epilogue, line.block * kBlock);
    const int64_t pitch = fours * kFour, count = (last - first - 1) * along.stride + lines.reach;
    for (int64_t i = 0; i < count; ++i)
      bring<kWindows>(line, first * along.stride - along.before + i, columns + i * pitch);
    const auto from = [&](int64_t ox) { return columns + (ox - first) * along.stride * pitch; };
    int64_t ox = first;
    for (; ox + 4 <= last; ox += 4) some<4>(line, from(ox), ox, pack);
    if (ox + 2 <= last) some<2>(line, from(ox), ox, pack), ox += 2;
    if (ox < last) some<1>(line, from(ox), ox, pack);
  }

  template <int kWindows, typename Pack>
  void line(const Tap* taps, const uint8_t* fill, int64_t block, uint8_t* y) const {
    const int64_t used = std::min(kBlock / kWindows, w.channels - block * kBlock);
    const Line<kWindows> line{taps, fill, ~__mmask64{0} >> (kBlock - used),
                              ceil_div(along.out, kWindows), block, y};
    thread_local Scratch<uint8_t> columns;
    const auto pieces = lines.pieces_of(line.part, fours * kFour);
    columns.resize(pieces.most * fours * kFour);
    pieces.each([&](int64_t first, int64_t last) {
      windows<kWindows, Pack>(line, first, last, columns.data());
    });
  }

  template <typename Pack>
  void line(const Tap* taps, const uint8_t* fill, int64_t block, uint8_t* y) const {
    const int64_t left = w.channels - block * kBlock;
    if (left > 32) return line<1, Pack>(taps, fill, block, y);
    if (left > 16) return line<2, Pack>(taps, fill, block, y);
    return line<4, Pack>(taps, fill, block, y);
  }

  void line(const Tap* taps, const uint8_t* fill, int64_t block, uint8_t* y) const {
    const Epilogue& e = d.epilogue;
    if (e.contract == Contract::kF32HalfEven)
      return e.high <= 127 ? line<PackedHalfEven<true>>(taps, fill, block, y)
                           : line<PackedHalfEven<false>>(taps, fill, block, y);
    by_contract(e, [&](auto rescale) {
      line<Packed<typename decltype(rescale)::Type>>(taps, fill, block, y);
    });
  }

  void run() const {
    lines.run(d, [&](const Tap* taps, const uint8_t* fill, int64_t block, uint8_t* y) {
      line(taps, fill, block, y);
    });
  }
};

inline void depthwise_by_fours(const Windows& windows, const Depthwise& layer) {
  if (layer.packed == nullptr) return depthwise(windows, layer);
  with_one_filter(windows, layer,
                  [](const Windows& w, const Depthwise& each) { Fours{w, each}.run(); });
}

}  // namespace
}  // namespace qir
