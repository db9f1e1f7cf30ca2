// Softmax, norms and tables as XLA's custom calls. Sizes of buffers are checked again here.
#include <cstdint>

#include "handlers.h"
#include "kernels.h"

namespace qir {
namespace {

// Rows along the last axis.
bool read(const ffi::AnyBuffer& x, Rows& rows) {
  const auto shape = x.dimensions();
  if (!is_byte(x.element_type()) || shape.size() == 0 || x.element_count() == 0) return false;
  rows.length = *(shape.end() - 1);
  rows = {bytes(x), x.element_type() == ffi::DataType::S8,
          static_cast<int64_t>(x.element_count()) / rows.length, rows.length};
  return true;
}

bool is_alike(const ffi::AnyBuffer& y, const ffi::AnyBuffer& x) {
  return is_byte(y.element_type()) && y.element_count() == x.element_count();
}

// mask: of no elements, where there is none.
ffi::Error softmax(ffi::AnyBuffer x, ffi::Buffer<ffi::S32> exps, ffi::Buffer<ffi::PRED> mask,
                   ffi::Result<ffi::AnyBuffer> y) {
  Rows rows;
  const auto masked = mask.element_count();
  if (!read(x, rows) || !is_alike(*y, x) || exps.element_count() != 256 ||
      (masked != 0 && masked != x.element_count()))
    return misfit();
  const auto* marks = reinterpret_cast<const uint8_t*>(mask.untyped_data());
  chosen().softmax({rows, exps.typed_data(), masked == 0 ? nullptr : marks,
                    y->element_type() == ffi::DataType::S8 ? -128 : 0,
                    static_cast<uint8_t*>(y->untyped_data())});
  return ffi::Error::Success();
}

// norm: whether the mean is taken off, the zero point of x, epsilon, mantissa and shift.
ffi::Error norm(ffi::AnyBuffer x, ffi::Buffer<ffi::S32> gamma, ffi::Buffer<ffi::S32> beta,
                ffi::AnyBuffer scale, ffi::Buffer<ffi::S32> shift, ffi::Result<ffi::AnyBuffer> y,
                Numbers norm, Numbers finish) {
  Rows rows;
  Epilogue e;
  if (!read(x, rows) || !is_alike(*y, x) || norm.size() != 5 ||
      !read(scale, shift, finish, rows.length, e) ||
      static_cast<int64_t>(gamma.element_count()) != rows.length ||
      static_cast<int64_t>(beta.element_count()) != rows.length)
    return misfit();
  const auto at = [&](int i) { return static_cast<int32_t>(norm.begin()[i]); };
  chosen().norm({rows, at(0) != 0, at(1), norm.begin()[2], at(3), at(4), gamma.typed_data(),
                 beta.typed_data(), e, static_cast<uint8_t*>(y->untyped_data())});
  return ffi::Error::Success();
}

ffi::Error table(ffi::AnyBuffer x, ffi::AnyBuffer entries, ffi::Result<ffi::AnyBuffer> y) {
  if (!is_byte(x.element_type()) || !is_byte(entries.element_type()) || !is_alike(*y, x) ||
      entries.element_count() != 256)
    return misfit();
  chosen().table({bytes(x), bytes(entries), static_cast<int64_t>(x.element_count()),
                  static_cast<uint8_t*>(y->untyped_data())});
  return ffi::Error::Success();
}

auto softmax_binding() {
  return ffi::Ffi::Bind()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::Buffer<ffi::S32>>()
      .Arg<ffi::Buffer<ffi::PRED>>()
      .Ret<ffi::AnyBuffer>();
}

auto norm_binding() {
  return ffi::Ffi::Bind()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::Buffer<ffi::S32>>()    // gamma
      .Arg<ffi::Buffer<ffi::S32>>()    // beta
      .Arg<ffi::AnyBuffer>()           // scale or multiplier, by element of a row
      .Arg<ffi::Buffer<ffi::S32>>()    // shift, by element of a row
      .Ret<ffi::AnyBuffer>()
      .Attr<Numbers>("norm")
      .Attr<Numbers>("finish");
}

auto table_binding() {
  return ffi::Ffi::Bind().Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>();
}

}  // namespace
}  // namespace qir

extern "C" {
QIR_PUBLIC XLA_FFI_Error* qir_softmax(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_norm(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_table(XLA_FFI_CallFrame*);
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_softmax, qir::softmax, qir::softmax_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_norm, qir::norm, qir::norm_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_table, qir::table, qir::table_binding());
