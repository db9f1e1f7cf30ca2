// What XLA's custom calls have in common: how they read their buffers.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "xla/ffi/api/ffi.h"

#define QIR_PUBLIC __attribute__((visibility("default")))

namespace qir {

namespace ffi = xla::ffi;
using Numbers = ffi::Span<const int64_t>;

inline const uint8_t* bytes(const ffi::AnyBuffer& buffer) {
  return static_cast<const uint8_t*>(buffer.untyped_data());
}

inline bool is_byte(ffi::DataType type) { return type == ffi::DataType::S8 || type == ffi::DataType::U8; }

// finish: contract, zero point, bounds.
inline bool read(const ffi::AnyBuffer& scale, const ffi::Buffer<ffi::S32>& shift, Numbers said,
          int64_t outputs, Epilogue& e) {
  if (said.size() != 4) return false;
  e.contract = static_cast<Contract>(said.begin()[0]);
  const bool is_f32 = e.contract == Contract::kF32HalfEven;
  const bool is_f64 = e.contract == Contract::kF64HalfAway;  // as pairs of 32 bits
  if (static_cast<int64_t>(scale.element_count()) != outputs * (is_f64 ? 2 : 1)) return false;
  if (!is_f32 && !is_f64 && static_cast<int64_t>(shift.element_count()) != outputs) return false;
  if (scale.element_type() != (is_f32 ? ffi::DataType::F32 : ffi::DataType::S32)) return false;
  e.scale = static_cast<const float*>(scale.untyped_data());
  e.multiplier = static_cast<const int32_t*>(scale.untyped_data());
  e.factor = static_cast<const double*>(scale.untyped_data());
  e.shift = shift.typed_data();
  e.zero = said.begin()[1], e.low = said.begin()[2], e.high = said.begin()[3];
  return true;
}

inline ffi::Error misfit() { return ffi::Error::InvalidArgument("qir: buffers that no kernel takes"); }

}  // namespace qir
