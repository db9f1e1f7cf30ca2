// The epilogue: i32 accumulators to stored 8-bit values by a rounding contract, bit for bit as
// qir/rounding/contracts.py has it, or to reals. Some channels of all rows of a block at a time, so
// that the numbers of a channel are read once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#if QIR_LANES > 4
#include "half_even.h"
#endif
#include "kernels.h"
#include "lanes.h"

namespace qir {
namespace {

// As many channels of a row as there are lanes.
struct Channels {
  const Sums& sums;
  int64_t first;
  I32 start;

  template <typename Lanes>
  QIR_INLINED Channels(const Sums& all, int64_t i, Lanes lanes)
      : sums(all), first(i), start(all.start == nullptr ? I32{} : load<I32>(all.start + i, lanes)) {}

  QIR_INLINED I32 of(int64_t row) const {
    const I32 sum = load<I32>(sums.products + row * sums.pitch + first, kLanes) + start;
    return sums.taken == nullptr ? sum : sum - sums.taken[row];
  }
};

QIR_INLINED HalfI32 positive(HalfI32 x) { return x > 0 ? x : 0; }

QIR_INLINED HalfI64 doubling_high(HalfI32 x, HalfI32 q, HalfI32 e) {
  const HalfI32 raised = (HalfI32)((HalfU32)x << (HalfU32)positive(e));
  return (product(raised, q) + (int64_t{1} << 30)) >> 31;
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
  return (product(x, q) + ((HalfI64{} + 1) << wide(30 - e))) >> wide(31 - e);
}

// A contract of fixed point for some channels. Rescaled values are cut to 32 bits, then moved and
// clamped, as qir.rounding.requantize does.
template <HalfI64 (*kRescale)(HalfI32, HalfI32, HalfI32)>
struct Fixed {
  HalfI32 multiplier[2], shift[2];
  int32_t zero, low, high;

  template <typename Lanes>
  QIR_INLINED Fixed(const Epilogue& e, int64_t channel, Lanes lanes)
      : zero(e.zero), low(e.low - zero), high(e.high - zero) {
    store(load<I32>(e.multiplier + channel, lanes), reinterpret_cast<int32_t*>(multiplier), kLanes);
    store(load<I32>(e.shift + channel, lanes), reinterpret_cast<int32_t*>(shift), kLanes);
  }

  QIR_INLINED I32 operator()(I32 sum) const {
    HalfI32 halves[2];
    std::memcpy(halves, &sum, sizeof(sum));
    for (int h = 0; h < 2; ++h)
      halves[h] = __builtin_convertvector(kRescale(halves[h], multiplier[h], shift[h]), HalfI32);
    std::memcpy(&sum, halves, sizeof(sum));
    return clamped(sum, low, high) + zero;
  }
};

// f32_half_even for some channels.
struct HalfEven {
  F32 scale;
  int32_t zero;
  float low, high;

  template <typename Lanes>
  QIR_INLINED HalfEven(const Epilogue& e, int64_t channel, Lanes lanes)
      : scale(load<F32>(e.scale + channel, lanes)), zero(e.zero),
        low(static_cast<float>(e.low - zero)), high(static_cast<float>(e.high - zero)) {}

  QIR_INLINED I32 operator()(I32 sum) const {
    return rounded(clamped(__builtin_convertvector(sum, F32) * scale, low, high)) + zero;
  }
};

// float64_half_away for some channels. What is beyond 2^30 is cut to it, far outside of bytes.
struct HalfAway64 {
  HalfF64 factor[2];
  int32_t zero, low, high;

  template <typename Lanes>
  QIR_INLINED HalfAway64(const Epilogue& e, int64_t channel, Lanes lanes)
      : factor{}, zero(e.zero), low(e.low - zero), high(e.high - zero) {
    std::memcpy(factor, e.factor + channel, sizeof(double) * lanes);
  }

  QIR_INLINED I32 operator()(I32 sum) const {
    HalfI32 halves[2];
    std::memcpy(halves, &sum, sizeof(sum));
    for (int h = 0; h < 2; ++h) {
      const HalfF64 value = __builtin_convertvector(halves[h], HalfF64) * factor[h];
      HalfF64 size = value < 0 ? -value : value;
      size = size > 0x1p30 ? 0x1p30 : size;
      HalfI32 whole = __builtin_convertvector(size, HalfI32);
      const HalfF64 rest = size - __builtin_convertvector(whole, HalfF64);
      whole -= __builtin_convertvector(rest >= 0.5, HalfI32);
      const HalfI32 is_negative = __builtin_convertvector(value < 0, HalfI32);
      halves[h] = is_negative ? -whole : whole;
    }
    std::memcpy(&sum, halves, sizeof(sum));
    return clamped(sum, low, high) + zero;
  }
};

// Hands `act` the name of what rescales by a contract.
template <typename Act>
QIR_INLINED void by_contract(const Epilogue& e, const Act& act) {
  switch (e.contract) {
    case Contract::kF32HalfEven: return act(Named<HalfEven>());
    case Contract::kTfliteReference: return act(Named<Fixed<half_away>>());
    case Contract::kTfliteBuiltin: return act(Named<Fixed<half_up>>());
    case Contract::kSingle: return act(Named<Fixed<single>>());
    case Contract::kF64HalfAway: return act(Named<HalfAway64>());
  }
}

// Rescaled sums to y[rows][pitch], with the other tensor, which lies like y, added if there is one.
template <typename Rescale, bool kAdds, typename Width>
QIR_INLINED void rescaled(const Epilogue& e, const Residual* residual, const uint8_t* other,
                          const Sums& sums, int64_t channel, Width width, uint8_t* y,
                          int64_t pitch) {
  by_lanes<kLanes>(width, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const Channels channels(sums, i, lanes);
    const Rescale rescale(e, channel + i, lanes);
    const Residual r = kAdds ? *residual : Residual{};
    const int32_t half = 1 << r.shift >> 1, low = r.low - r.zero, high = r.high - r.zero;
    for (int64_t row = 0; row < sums.rows; ++row) {
      const int64_t at = row * pitch + i;
      I32 value = rescale(channels.of(row));
      if constexpr (kAdds) {
        const I32 theirs = widened_bytes(other + at, r.is_signed, lanes) - r.other_zero;
        value = ((value - e.zero) * r.weight + theirs * r.other_weight + half) >> r.shift;
        value = clamped(value, low, high) + r.zero;
      }
      store(narrow(value), y + at, lanes);
    }
  });
}

// Sums of `width` channels from `channel` on. y: where the first of them goes, its rows `pitch`
// apart; `residual` is read from the same places.
template <typename Rescale, typename Width>
QIR_INLINED void rescaled(const Epilogue& e, const Residual* residual, const uint8_t* other,
                          const Sums& sums, int64_t channel, Width width, uint8_t* y,
                          int64_t pitch) {
  if (residual == nullptr)
    rescaled<Rescale, false>(e, residual, other, sums, channel, width, y, pitch);
  else
    rescaled<Rescale, true>(e, residual, other, sums, channel, width, y, pitch);
}

// Whether `finish` of so many columns writes fewer of them, too.
template <int64_t kColumns>
QIR_INLINED bool writes_fewer(const Epilogue& e) {
  return kLanes > 4 && kColumns == 2 * kLanes && e.contract == Contract::kF32HalfEven;
}

// used: how many of the width are written, see `writes_fewer`.
template <typename Width>
QIR_INLINED void finish(const Epilogue& e, const Residual* residual, const Sums& sums,
                        int64_t channel, Width width, uint8_t* y, int64_t place, int64_t pitch,
                        [[maybe_unused]] int64_t used = 2 * kLanes) {
  const uint8_t* other = residual == nullptr ? nullptr : residual->other + place;
#if QIR_LANES > 4
  if constexpr (std::is_same_v<Width, std::integral_constant<int64_t, 2 * kLanes>>)
    if (e.contract == Contract::kF32HalfEven)
      return used == 2 * kLanes
                 ? half_even(e, residual, other, sums, channel, Used<true>(used), y + place, pitch)
                 : half_even(e, residual, other, sums, channel, Used<false>(used), y + place, pitch);
#endif
  by_contract(e, [&](auto rescale) __attribute__((always_inline)) {
    using Rescale = typename decltype(rescale)::Type;
    rescaled<Rescale>(e, residual, other, sums, channel, width, y + place, pitch);
  });
}

// The numbers of fewer channels than a tile has columns, filled up with zeros.
template <int64_t kColumns>
struct Some {
  float scale[kColumns] = {};
  double factor[kColumns] = {};
  int32_t multiplier[kColumns] = {}, shift[kColumns] = {};
  Epilogue epilogue;

  Some(const Epilogue& e, int64_t channel, int64_t used) : epilogue(e) {
    const auto take = [&](auto*& from, auto* to) {
      std::copy_n(from + channel, used, to);
      from = to;
    };
    if (e.contract == Contract::kF32HalfEven) {
      take(epilogue.scale, scale);
    } else if (e.contract == Contract::kF64HalfAway) {
      take(epilogue.factor, factor);
    } else {
      take(epilogue.multiplier, multiplier);
      take(epilogue.shift, shift);
    }
  }
  Some(const Some&) = delete;
};

// The same for reals; image_of: which image a row belongs to.
template <typename Width, typename ImageOf>
QIR_INLINED void finish(const Reals& r, const Sums& sums, int64_t channel, Width width,
                        int64_t place, int64_t pitch, const ImageOf& image_of) {
  by_lanes<kLanes>(width, [&](int64_t i, auto lanes) __attribute__((always_inline)) {
    const Channels channels(sums, i, lanes);
    const int64_t at = channel + i;
    const I32 taps = load<I32>(r.taps + at, lanes);
    const F32 scale = load<F32>(r.scale + at, lanes), bias = load<F32>(r.bias + at, lanes);
    const float low = r.low, high = r.high;
    for (int64_t row = 0; row < sums.rows; ++row) {
      const int64_t image = image_of(row);
      const I32 sum = channels.of(row) - r.image_zero[image] * taps;
      const F32 value = __builtin_convertvector(sum, F32) * (r.image_scale[image] * scale) + bias;
      store(clamped(value, low, high), r.y + place + row * pitch + i, lanes);
    }
  });
}

}  // namespace
}  // namespace qir
