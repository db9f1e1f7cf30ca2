// The epilogue: i32 accumulators to stored 8-bit values by a rounding contract, bit for bit as
// qir/rounding/contracts.py has it. Loops are plain; the compiler vectorizes them for each set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels.h"

namespace qir {
namespace {  // each instruction set compiles its own

// Added to an f32 of at most 2**22 it leaves the integer, rounded half to even, in the low bits.
constexpr float kMagic = 12582912.0f;
constexpr int32_t kMagicBits = 0x4B400000;

inline int32_t rounded(float value) {
  value += kMagic;
  int32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits - kMagicBits;
}

inline int32_t doubling_high(int32_t x, int32_t q) {
  return static_cast<int32_t>((static_cast<int64_t>(x) * q + (int64_t{1} << 30)) >> 31);
}

inline int32_t shifted_left(int32_t x, int32_t e) {
  return static_cast<int32_t>(static_cast<uint32_t>(x) << std::max(e, 0));
}

inline int64_t half_away(int32_t x, int32_t q, int32_t e) {
  const int32_t right = std::max(-e, 0);
  const int64_t mask = (int64_t{1} << right) - 1;
  const int64_t y = doubling_high(shifted_left(x, e), q);
  return (y >> right) + ((y & mask) > (mask >> 1) + (y < 0));
}

inline int64_t half_up(int32_t x, int32_t q, int32_t e) {
  const int32_t right = std::max(-e, 0);
  const int64_t y = doubling_high(shifted_left(x, e), q);
  return (y + ((int64_t{1} << right) >> 1)) >> right;
}

inline int64_t single(int32_t x, int32_t q, int32_t e) {
  return (static_cast<int64_t>(x) * q + (int64_t{1} << (30 - e))) >> (31 - e);
}

// Rescaled values are cut to 32 bits, then moved and clamped, as qir.rounding.requantize does.
template <int64_t (*kRescale)(int32_t, int32_t, int32_t)>
void finish_fixed(const Epilogue& e, const int32_t* acc, int64_t channel, int64_t count,
                  uint8_t* y) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t value = static_cast<int32_t>(
        kRescale(acc[i], e.multiplier[channel + i], e.shift[channel + i]));
    const int64_t moved = static_cast<int64_t>(value) + e.zero;
    y[i] = static_cast<uint8_t>(std::min<int64_t>(std::max<int64_t>(moved, e.low), e.high));
  }
}

inline void finish_f32(const Epilogue& e, const int32_t* acc, int64_t channel, int64_t count,
                       uint8_t* y) {
  const float low = static_cast<float>(e.low - e.zero), high = static_cast<float>(e.high - e.zero);
  const float* scale = e.scale + channel;
  for (int64_t i = 0; i < count; ++i) {
    const float value = static_cast<float>(acc[i]) * scale[i];
    y[i] = static_cast<uint8_t>(rounded(std::min(std::max(value, low), high)) + e.zero);
  }
}

// Accumulators of the channels from `channel` on, `count` of them.
inline void finish(const Epilogue& e, const int32_t* acc, int64_t channel, int64_t count,
                   uint8_t* y) {
  switch (e.contract) {
    case Contract::kF32HalfEven: return finish_f32(e, acc, channel, count, y);
    case Contract::kTfliteReference: return finish_fixed<half_away>(e, acc, channel, count, y);
    case Contract::kTfliteBuiltin: return finish_fixed<half_up>(e, acc, channel, count, y);
    case Contract::kSingle: return finish_fixed<single>(e, acc, channel, count, y);
  }
}

// The same for reals.
inline void finish(const Reals& r, int64_t image, const int32_t* acc, int64_t channel,
                   int64_t count, float* y) {
  const float step = r.image_scale[image];
  const int32_t zero = r.image_zero[image];
  for (int64_t i = 0; i < count; ++i) {
    const int32_t sum = acc[i] - zero * r.taps[channel + i];
    const float value = static_cast<float>(sum) * (step * r.scale[channel + i]);
    y[i] = std::min(std::max(value + r.bias[channel + i], r.low), r.high);
  }
}

}  // namespace
}  // namespace qir
