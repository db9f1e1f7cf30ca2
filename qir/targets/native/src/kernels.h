// What the kernels take. Every instruction set implements the same table of functions; all of them
// give the same integers, those of the numpy meanings of the ops of the xla dialect.
#pragma once

#include <cstdint>

// Where the compiler knows the instructions of AMX, and Linux how to be asked for its tiles.
#if defined(__x86_64__) && defined(__linux__) && \
    (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define QIR_AMX
#endif

namespace qir {

// The rounding contracts of qir/rounding, numbered as calls.py numbers them.
enum class Contract { kF32HalfEven, kTfliteReference, kTfliteBuiltin, kSingle, kF64HalfAway };

// From accumulators to stored values: rescaled, moved to the zero point, clamped.
struct Epilogue {
  Contract contract;
  const float* scale;         // by channel; of kF32HalfEven
  const double* factor;       // by channel; of kF64HalfAway
  const int32_t* multiplier;  // by channel; of the others, as is `shift`
  const int32_t* shift;
  int32_t zero, low, high;
};

// From accumulators to reals, where each image has a grid of its own: scale of the image times scale
// of the channel times (sum - zero point * taps), plus bias, between bounds.
struct Reals {
  const float* image_scale;
  const int32_t* image_zero;
  const float* scale;   // by channel, as are `taps`, the sum of its weights, and `bias`
  const int32_t* taps;
  const float* bias;
  float low, high;
  float* y;
};

// A tensor that is added to what the epilogue gives, with weights: (q - zero of the epilogue) *
// weight + (other - other_zero) * other_weight, shifted right and rounded half up, moved, clamped.
struct Residual {
  const uint8_t* other;
  bool is_signed, is_signed_before;  // other; what the epilogue gives
  int32_t other_zero, weight, other_weight, shift, zero, low, high;
};

// A block of sums: products[rows][pitch], plus what each channel starts with, less what each row
// takes (nullptr: nothing).
struct Sums {
  int64_t rows, pitch;
  const int32_t *products, *start, *taken;
};

// The windows of a convolution over x[n, height, width, channels].
struct Windows {
  int64_t n, height, width, channels;
  int64_t kernel[2], stride[2], dilation[2], before[2];  // before: the padding at top and left
  int64_t out_height, out_width, outputs, groups;
  int64_t runs = 1;      // how many of them a filter is packed as, see `Layout`
  bool crosses = false;  // whether what crossed products add is in the bias, see `Layout`
};

// Which taps of a packed depthwise filter are brought together, so many at once, see lines.h: those
// below each other, unless those beside each other make fewer.
inline bool taps_lie_across(const Windows& w, int64_t taps) {
  const int64_t rows = w.kernel[0], columns = w.kernel[1];
  return (rows + taps - 1) / taps * columns <= (columns + taps - 1) / taps * rows;
}

// x: i8 or u8. packed: what `layout()` describes, one block for each group. bias: i32 by output
// channel, into which the zero point of x is folded. fill: the byte that padding holds.
struct Convolution {
  const uint8_t* x;
  bool is_signed;
  uint8_t fill;
  const int8_t* packed;
  const int32_t* bias;
  Epilogue epilogue;
  uint8_t* y;
  const Reals* reals = nullptr;  // instead of epilogue, fill and y
  const Residual* residual = nullptr;
  const int16_t* transformed = nullptr;  // filters in place of `packed`, see winograd.h
};

// As above; w: i16 [taps, channels * multiplier], or as depthwise_pairs.h has it; or packed in its
// place, see depthwise_fours.h.
struct Depthwise {
  const uint8_t* x;
  bool is_signed;
  uint8_t fill;
  const int16_t* w;
  const int32_t* bias;
  Epilogue epilogue;
  uint8_t* y;
  const Reals* reals = nullptr;
  const int8_t* packed = nullptr;
};

// A layer of reals by integer weights: `weights` as above, `start` in place of the bias there.
struct Hybrid {
  const float* x;
  const void* weights;
  const int32_t *start, *taps;
  const float *scale, *bias;
  float low, high;
  float* y;
};

// One side of a product: i8 or u8; how far apart the elements along each axis of the batch lie, then
// along its last two axes.
struct Side {
  const uint8_t* values;
  bool is_signed;
  int32_t zero;
  const int64_t* stride;
};

// a[batch..., rows, inner] by b[batch..., inner, columns]; rank: how many axes the batch has.
struct Products {
  int64_t rank;
  const int64_t* batch;
  int64_t rows, inner, columns;
  Side a, b;
  Epilogue epilogue;
  uint8_t* y;
};

// x[count, length] of i8 or u8.
struct Rows {
  const uint8_t* x;
  bool is_signed;
  int64_t count, length;
};

// exps: what an element weighs that is so far below the largest of its row. mask: as x, 0 where an
// element does not count; nullptr: all do. lowest: of what y stores.
struct Softmax {
  Rows rows;
  const int32_t* exps;
  const uint8_t* mask;
  int32_t lowest;
  uint8_t* y;
};

// gamma * z + beta, z normalized: with a mean it is a layer norm, without an RMS norm. epsilon: in
// units of 2^-16. mantissa, shift: what the root of the length makes of the inverse root.
struct Norm {
  Rows rows;
  bool has_mean;
  int32_t zero;
  int64_t epsilon;
  int32_t mantissa, shift;
  const int32_t *gamma, *beta;
  Epilogue epilogue;
  uint8_t* y;
};

// entries: what y holds for each byte of x.
struct Table {
  const uint8_t *x, *entries;
  int64_t count;
  uint8_t* y;
};

// The largest element of each window, or the mean of those inside the image between two bounds.
struct Pool {
  const uint8_t* x;
  bool is_signed, is_max;
  int32_t low, high;
  uint8_t* y;
};

// How weights [K, N] are packed: columns in tiles of `columns`, rows in steps of `depth`, as
// [N / columns, K / depth, columns, depth], padded with zeros, each run of K to a multiple of `inner`.
// rows: of how many a product is at least. offset: what is added to a signed x before the product,
// which the bias has to make up for. taps: how many of a depthwise filter are packed together, 1 for
// none. crosses: 1 where windows may say that the bias makes up for w0 w2 + w1 w3 of every four rows.
struct Layout {
  int64_t columns, depth, inner, rows, offset, taps, crosses;
};

struct Kernels {
  const char* name;
  Layout layout;
  void (*conv)(const Windows&, const Convolution&);
  void (*depthwise)(const Windows&, const Depthwise&);
  void (*batch_dot)(const Products&);
  void (*hybrid_conv)(const Windows&, const Hybrid&);
  void (*hybrid_depthwise)(const Windows&, const Hybrid&);
  void (*pool)(const Windows&, const Pool&);
  void (*softmax)(const Softmax&);
  void (*norm)(const Norm&);
  void (*table)(const Table&);
};

extern const Kernels kPlain;
#if defined(QIR_AMX)
extern const Kernels kAmx;
#endif
#if defined(__x86_64__)
extern const Kernels kAvx2;
extern const Kernels kAvx512Vnni;
#endif

// The set that QIR_NATIVE names, where this processor runs it, or the best that it runs.
const Kernels& chosen();

}  // namespace qir
