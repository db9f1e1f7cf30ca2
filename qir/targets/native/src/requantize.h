// The epilogue: i32 accumulators to stored 8-bit values by a rounding contract, bit for bit as
// qir/rounding/contracts.py has it.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "lanes.h"

namespace qir {
namespace {

// What a row of products sums up to: with what each channel starts with, less what the row takes.
struct Sums {
  const int32_t* products;
  const int32_t* start;
  int32_t taken;

  template <typename Vector>
  QIR_INLINED Vector at(int64_t i, int64_t lanes) const {
    return load<Vector>(products + i, lanes) + load<Vector>(start + i, lanes) - taken;
  }
};

QIR_INLINED HalfI32 positive(HalfI32 x) { return x > 0 ? x : 0; }

QIR_INLINED HalfI64 doubling_high(HalfI32 x, HalfI32 q, HalfI32 e) {
  const HalfI32 raised = (HalfI32)((HalfU32)x << (HalfU32)positive(e));
  return (wide(raised) * wide(q) + (int64_t{1} << 30)) >> 31;
}

QIR_INLINED HalfI64 half_away(HalfI32 x, HalfI32 q, HalfI32 e) {
  const HalfI64 right = wide(positive(-e)), y = doubling_high(x, q, e);
  const HalfI64 mask = ((HalfI64{} + 1) << right) - 1;
  return (y >> right) - ((y & mask) > (mask >> 1) - (y < 0));
}

QIR_INLINED HalfI64 half_up(HalfI32 x, HalfI32 q, HalfI32 e) {
  const HalfI64 right = wide(positive(-e));
  return (doubling_high(x, q, e) + (((HalfI64{} + 1) << right) >> 1)) >> right;
}

QIR_INLINED HalfI64 single(HalfI32 x, HalfI32 q, HalfI32 e) {
  return (wide(x) * wide(q) + ((HalfI64{} + 1) << wide(30 - e))) >> wide(31 - e);
}

// Rescaled values are cut to 32 bits, then moved and clamped, as qir.rounding.requantize does.
template <HalfI64 (*kRescale)(HalfI32, HalfI32, HalfI32)>
QIR_INLINED void finish_fixed(const Epilogue& e, const Sums& sums, int64_t channel, int64_t count,
                              uint8_t* y) {
  const int32_t zero = e.zero, low = e.low - zero, high = e.high - zero;
  by_lanes<kHalf>(count, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const int64_t at = channel + i;
    const HalfI64 exact = kRescale(sums.at<HalfI32>(i, lanes),
                                   load<HalfI32>(e.multiplier + at, lanes),
                                   load<HalfI32>(e.shift + at, lanes));
    const HalfI32 value = __builtin_convertvector(exact, HalfI32);
    store(narrow(clamped(value, low, high) + zero), y + i, lanes);
  });
}

QIR_INLINED void finish_f32(const Epilogue& e, const Sums& sums, int64_t channel, int64_t count,
                            uint8_t* y) {
  const int32_t zero = e.zero;
  const float low = static_cast<float>(e.low - zero), high = static_cast<float>(e.high - zero);
  by_lanes<kLanes>(count, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const F32 sum = __builtin_convertvector(sums.at<I32>(i, lanes), F32);
    const F32 value = clamped(sum * load<F32>(e.scale + channel + i, lanes), low, high);
    store(narrow(rounded(value) + zero), y + i, lanes);
  });
}

// Sums of the channels from `channel` on, `count` of them.
QIR_INLINED void finish(const Epilogue& e, const Sums& sums, int64_t channel, int64_t count,
                        uint8_t* y) {
  switch (e.contract) {
    case Contract::kF32HalfEven: return finish_f32(e, sums, channel, count, y);
    case Contract::kTfliteReference: return finish_fixed<half_away>(e, sums, channel, count, y);
    case Contract::kTfliteBuiltin: return finish_fixed<half_up>(e, sums, channel, count, y);
    case Contract::kSingle: return finish_fixed<single>(e, sums, channel, count, y);
  }
}

// The same for reals.
QIR_INLINED void finish(const Reals& r, int64_t image, const Sums& sums, int64_t channel,
                        int64_t count, float* y) {
  const float step = r.image_scale[image];
  const int32_t zero = r.image_zero[image];
  by_lanes<kLanes>(count, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const int64_t at = channel + i;
    const I32 sum = sums.at<I32>(i, lanes) - zero * load<I32>(r.taps + at, lanes);
    const F32 scale = step * load<F32>(r.scale + at, lanes);
    const F32 value = __builtin_convertvector(sum, F32) * scale + load<F32>(r.bias + at, lanes);
    store(clamped(value, r.low, r.high), y + i, lanes);
  });
}

}  // namespace
}  // namespace qir
