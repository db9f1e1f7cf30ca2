// Kernels in plain C++, for every processor.
#include "batch_dot.h"
#include "convolution.h"
#include "depthwise.h"
#include "hybrid.h"

namespace qir {
namespace {

struct Plain {
  using Element = int16_t;
  static constexpr int kRows = 4;
  static constexpr int64_t kColumns = 16, kDepth = 2, kOffset = 0;

  static int16_t element(uint8_t stored, bool is_signed) {
    return is_signed ? static_cast<int8_t>(stored) : stored;
  }

  template <int kCount>
  static void product(const int16_t* a, int64_t lda, const int8_t* b, int64_t steps,
                      int32_t (*acc)[kColumns]) {
    for (int64_t k = 0; k < steps; ++k, b += kColumns * kDepth)
      for (int r = 0; r < kCount; ++r)
        for (int64_t j = 0; j < kColumns; ++j)
          acc[r][j] += a[r * lda + 2 * k] * b[2 * j] + a[r * lda + 2 * k + 1] * b[2 * j + 1];
  }
};

}  // namespace

const Kernels kPlain = {"plain", {Plain::kColumns, Plain::kDepth, Plain::kOffset}, conv<Plain>,
                        depthwise, batch_dot<Plain>, hybrid_conv<Plain>,
                       hybrid_depthwise};

}  // namespace qir
