// Layers and products as XLA's custom calls. Shapes were checked by the op that calls; what could still
// be wrong here, the sizes of buffers, is checked again.
#include <cstdint>
#include <utility>

#include "handlers.h"
#include "kernels.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

// windows: as `Windows` lists them, without the batch, which x has; those of a convolution with runs
// and whether it crosses.
bool read(ffi::Span<const int64_t> shape, Numbers said, Windows& w) {
  if (shape.size() != 4 || (said.size() != 12 && said.size() != 14)) return false;
  const int64_t* s = said.begin();
  w = {shape[0], shape[1], shape[2], shape[3], {s[0], s[1]}, {s[2], s[3]},
       {s[4], s[5]}, {s[6], s[7]}, s[8], s[9], s[10], s[11]};  // clang-format off
  if (said.size() == 14) w.runs = s[12], w.crosses = s[13] != 0;
  return w.groups > 0 && w.channels % w.groups == 0 && w.outputs % w.groups == 0 &&
         (w.runs == 1 || (w.runs == w.kernel[0] && w.groups == 1)) &&
         (!w.crosses || chosen().layout.crosses);
}

bool read(const ffi::AnyBuffer& x, Numbers said, Windows& w) {
  return is_byte(x.element_type()) && read(x.dimensions(), said, w);
}

// How many bytes the packed weights of a convolution take.
int64_t packed_size(const Windows& w) {
  const Layout& layout = chosen().layout;
  const int64_t depth = w.kernel[0] * w.kernel[1] * w.channels / w.groups;
  return w.groups * w.runs * round_up(depth / w.runs, layout.inner) * round_up(w.outputs / w.groups, layout.columns);
}

// Whether they are filters of winograd.h, for these windows.
bool are_transformed(const ffi::AnyBuffer& filters, const Windows& w) {
  const Layout& layout = chosen().layout;
  const bool is_served = layout.depth == 2 && w.channels % 16 == 0 && w.groups * w.runs == 1 &&
                         w.kernel[0] == 3 && w.kernel[1] == 3 &&
                         w.stride[0] * w.stride[1] * w.dilation[0] * w.dilation[1] == 1;
  return is_served && filters.element_type() == ffi::DataType::S16 &&
         static_cast<int64_t>(filters.element_count()) ==
             16 * w.channels * round_up(w.outputs, layout.columns);
}

bool are_packed(const ffi::AnyBuffer& filters, const Windows& w) {
  return filters.element_type() == ffi::DataType::S8 &&
         static_cast<int64_t>(filters.element_count()) == packed_size(w);
}

bool fits(const ffi::AnyBuffer& y, const Windows& w) {
  return is_byte(y.element_type()) &&
         static_cast<int64_t>(y.element_count()) == w.n * w.out_height * w.out_width * w.outputs;
}

ffi::Error convolved(ffi::AnyBuffer x, ffi::AnyBuffer filters, ffi::Buffer<ffi::S32> bias,
                     ffi::AnyBuffer scale, ffi::Buffer<ffi::S32> shift,
                     ffi::Result<ffi::AnyBuffer> y, Numbers windows, Numbers finish, int64_t fill,
                     const Residual* residual) {
  Windows w;
  Epilogue e;
  if (!read(x, windows, w) || !read(scale, shift, finish, w.outputs, e) || !fits(*y, w))
    return misfit();
  const bool is_packed = are_packed(filters, w);
  if ((!is_packed && !are_transformed(filters, w)) ||
      static_cast<int64_t>(bias.element_count()) != w.outputs)
    return misfit();
  chosen().conv(w, {bytes(x), x.element_type() == ffi::DataType::S8, static_cast<uint8_t>(fill),
                    is_packed ? filters.typed_data<int8_t>() : nullptr, bias.typed_data(), e,
                    static_cast<uint8_t*>(y->untyped_data()), nullptr, residual,
                    is_packed ? nullptr : filters.typed_data<int16_t>()});
  return ffi::Error::Success();
}

ffi::Error conv(ffi::AnyBuffer x, ffi::AnyBuffer filters, ffi::Buffer<ffi::S32> bias,
                ffi::AnyBuffer scale, ffi::Buffer<ffi::S32> shift, ffi::Result<ffi::AnyBuffer> y,
                Numbers windows, Numbers finish, int64_t fill) {
  return convolved(x, filters, bias, scale, shift, y, windows, finish, fill, nullptr);
}

// sum: the weights of both sides, the shift; zero point of the other; whether the convolution's own
// result is signed; zero point and bounds of the sum.
ffi::Error conv_sum(ffi::AnyBuffer x, ffi::AnyBuffer filters, ffi::Buffer<ffi::S32> bias,
                    ffi::AnyBuffer scale, ffi::Buffer<ffi::S32> shift, ffi::AnyBuffer other,
                    ffi::Result<ffi::AnyBuffer> y, Numbers windows, Numbers finish, int64_t fill,
                    Numbers sum) {
  if (!is_byte(other.element_type()) || other.element_count() != y->element_count() ||
      sum.size() != 8)
    return misfit();
  const auto at = [&](int i) { return static_cast<int32_t>(sum.begin()[i]); };
  const Residual residual{bytes(other), other.element_type() == ffi::DataType::S8, at(4) != 0,
                          at(3), at(0), at(1), at(2), at(5), at(6), at(7)};
  return convolved(x, filters, bias, scale, shift, y, windows, finish, fill, &residual);
}

ffi::Error depthwise(ffi::AnyBuffer x, ffi::AnyBuffer filters, ffi::Buffer<ffi::S32> bias,
                     ffi::AnyBuffer scale, ffi::Buffer<ffi::S32> shift,
                     ffi::Result<ffi::AnyBuffer> y, Numbers windows, Numbers finish, int64_t fill) {
  Windows w;
  Epilogue e;
  if (!read(x, windows, w) || !fits(*y, w) || w.groups != w.channels ||
      w.outputs % w.channels != 0)
    return misfit();
  const int64_t taps = chosen().layout.taps, rows = w.kernel[0], columns = w.kernel[1];
  const int64_t packed = taps_lie_across(w, taps) ? round_up(rows, taps) * columns
                                                  : round_up(columns, taps) * rows;
  const bool is_packed = taps == 4;
  const int64_t places = taps == 4 ? 64 : taps == 2 ? 16 : 1;
  const int64_t outputs = is_packed ? round_up(w.outputs, places) : w.outputs;
  if (!read(scale, shift, finish, outputs, e) ||
      static_cast<int64_t>(bias.element_count()) != outputs ||
      filters.element_type() != (is_packed ? ffi::DataType::S8 : ffi::DataType::S16) ||
      static_cast<int64_t>(filters.element_count()) != packed * round_up(w.outputs, places))
    return misfit();
  chosen().depthwise(w, {bytes(x), x.element_type() == ffi::DataType::S8,
                         static_cast<uint8_t>(fill),
                         is_packed ? nullptr : filters.typed_data<int16_t>(), bias.typed_data(), e,
                         static_cast<uint8_t*>(y->untyped_data()), nullptr,
                         is_packed ? filters.typed_data<int8_t>() : nullptr});
  return ffi::Error::Success();
}

// pool: whether it is of the largest, and the bounds of a mean. The windows are those of a depthwise
// convolution.
ffi::Error pool(ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> y, Numbers windows, Numbers pool) {
  Windows w;
  if (!read(x, windows, w) || !fits(*y, w) || w.outputs != w.channels || pool.size() != 3 ||
      y->element_type() != x.element_type())
    return misfit();
  const auto at = [&](int i) { return static_cast<int32_t>(pool.begin()[i]); };
  chosen().pool(w, {bytes(x), x.element_type() == ffi::DataType::S8, at(0) != 0, at(1), at(2),
                    static_cast<uint8_t*>(y->untyped_data())});
  return ffi::Error::Success();
}

// shape: the batch, rows, inner, columns. strides: of a, then of b. zeros: of both.
ffi::Error batch_dot(ffi::AnyBuffer a, ffi::AnyBuffer b, ffi::AnyBuffer scale,
                     ffi::Buffer<ffi::S32> shift, ffi::Result<ffi::AnyBuffer> y, Numbers shape,
                     Numbers strides, Numbers zeros, Numbers finish) {
  const int64_t rank = static_cast<int64_t>(shape.size()) - 3;
  if (rank < 0 || strides.size() != 2 * (shape.size() - 1) || zeros.size() != 2) return misfit();
  const int64_t *s = shape.begin(), rows = s[rank], inner = s[rank + 1], columns = s[rank + 2];
  int64_t batches = 1;
  for (int64_t i = 0; i < rank; ++i) batches *= s[i];
  const auto holds = [](const ffi::AnyBuffer& buffer, int64_t count) {
    return is_byte(buffer.element_type()) && static_cast<int64_t>(buffer.element_count()) == count;
  };
  Epilogue e;
  if (!holds(a, batches * rows * inner) || !holds(b, batches * inner * columns) ||
      !holds(*y, batches * rows * columns) || !read(scale, shift, finish, columns, e))
    return misfit();
  const auto side = [&](const ffi::AnyBuffer& buffer, int64_t which) {
    return Side{bytes(buffer), buffer.element_type() == ffi::DataType::S8,
                static_cast<int32_t>(zeros.begin()[which]), strides.begin() + which * (rank + 2)};
  };
  chosen().batch_dot({rank, s, rows, inner, columns, side(a, 0), side(b, 1), e,
                      static_cast<uint8_t*>(y->untyped_data())});
  return ffi::Error::Success();
}

// As conv and depthwise, but of f32; start: what the sums begin with.
template <ffi::DataType kWeights, void (*Kernels::*kKernel)(const Windows&, const Hybrid&)>
ffi::Error hybrid(ffi::Buffer<ffi::F32> x, ffi::AnyBuffer weights, ffi::Buffer<ffi::S32> start,
                  ffi::Buffer<ffi::S32> taps, ffi::Buffer<ffi::F32> scale,
                  ffi::Buffer<ffi::F32> bias, ffi::Result<ffi::Buffer<ffi::F32>> y,
                  Numbers windows, float low, float high) {
  Windows w;
  if (!read(x.dimensions(), windows, w) || weights.element_type() != kWeights) return misfit();
  const bool is_conv = kWeights == ffi::DataType::S8;
  const int64_t size = is_conv ? packed_size(w) : w.kernel[0] * w.kernel[1] * w.outputs;
  const auto holds = [](const auto& buffer, int64_t count) {
    return static_cast<int64_t>(buffer.element_count()) == count;
  };
  if (!holds(weights, size) || !holds(start, w.outputs) || !holds(taps, w.outputs) ||
      !holds(scale, w.outputs) || !holds(bias, w.outputs) ||
      !holds(*y, w.n * w.out_height * w.out_width * w.outputs))
    return misfit();
  (chosen().*kKernel)(w, {x.typed_data(), weights.untyped_data(), start.typed_data(),
                          taps.typed_data(), scale.typed_data(), bias.typed_data(), low, high,
                          y->typed_data()});
  return ffi::Error::Success();
}

auto hybrid_binding() {
  return ffi::Ffi::Bind()
      .Arg<ffi::Buffer<ffi::F32>>()    // x
      .Arg<ffi::AnyBuffer>()           // weights
      .Arg<ffi::Buffer<ffi::S32>>()    // start
      .Arg<ffi::Buffer<ffi::S32>>()    // taps
      .Arg<ffi::Buffer<ffi::F32>>()    // scale, by channel
      .Arg<ffi::Buffer<ffi::F32>>()    // bias
      .Ret<ffi::Buffer<ffi::F32>>()
      .Attr<Numbers>("windows")
      .Attr<float>("low")
      .Attr<float>("high");
}

auto products_binding() {
  return ffi::Ffi::Bind()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()           // scale or multiplier, by column
      .Arg<ffi::Buffer<ffi::S32>>()    // shift, by column
      .Ret<ffi::AnyBuffer>()
      .Attr<Numbers>("shape")
      .Attr<Numbers>("strides")
      .Attr<Numbers>("zeros")
      .Attr<Numbers>("finish");
}

auto pool_binding() {
  return ffi::Ffi::Bind()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>()
      .Attr<Numbers>("windows")
      .Attr<Numbers>("pool");
}

auto layer_arguments() {
  return ffi::Ffi::Bind()
      .Arg<ffi::AnyBuffer>()           // x
      .Arg<ffi::AnyBuffer>()           // weights
      .Arg<ffi::Buffer<ffi::S32>>()    // bias
      .Arg<ffi::AnyBuffer>()           // scale or multiplier, by channel
      .Arg<ffi::Buffer<ffi::S32>>();   // shift, by channel
}

template <typename Arguments>
auto with_layer_attributes(Arguments&& arguments) {
  return std::move(arguments)
      .template Ret<ffi::AnyBuffer>()
      .template Attr<Numbers>("windows")
      .template Attr<Numbers>("finish")
      .template Attr<int64_t>("fill");
}

auto binding() { return with_layer_attributes(layer_arguments()); }

auto sum_binding() {
  return with_layer_attributes(layer_arguments().Arg<ffi::AnyBuffer>())  // the sum's other side
      .Attr<Numbers>("sum");
}

}  // namespace
}  // namespace qir

extern "C" {
QIR_PUBLIC XLA_FFI_Error* qir_conv(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_conv_sum(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_depthwise(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_batch_dot(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_pool(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_hybrid_conv(XLA_FFI_CallFrame*);
QIR_PUBLIC XLA_FFI_Error* qir_hybrid_depthwise(XLA_FFI_CallFrame*);

// What Python packs weights for.
QIR_PUBLIC const char* qir_kernels() { return qir::chosen().name; }
QIR_PUBLIC int64_t qir_columns() { return qir::chosen().layout.columns; }
QIR_PUBLIC int64_t qir_depth() { return qir::chosen().layout.depth; }
QIR_PUBLIC int64_t qir_inner() { return qir::chosen().layout.inner; }
QIR_PUBLIC int64_t qir_rows() { return qir::chosen().layout.rows; }
QIR_PUBLIC int64_t qir_taps() { return qir::chosen().layout.taps; }
QIR_PUBLIC int64_t qir_crosses() { return qir::chosen().layout.crosses; }
QIR_PUBLIC int64_t qir_offset() { return qir::chosen().layout.offset; }
QIR_PUBLIC int64_t qir_threads() { return qir::thread_count(); }
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_conv, qir::conv, qir::binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_conv_sum, qir::conv_sum, qir::sum_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_depthwise, qir::depthwise, qir::binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_batch_dot, qir::batch_dot, qir::products_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_pool, qir::pool, qir::pool_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_hybrid_conv,
                              (qir::hybrid<xla::ffi::S8, &qir::Kernels::hybrid_conv>),
                              qir::hybrid_binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(qir_hybrid_depthwise,
                              (qir::hybrid<xla::ffi::S16, &qir::Kernels::hybrid_depthwise>),
                              qir::hybrid_binding());
