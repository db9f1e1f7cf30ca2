// Kernels in plain C++, for every processor.
#include <algorithm>

#define QIR_TAPS 1
#define QIR_LANES 4
#include "set.h"

namespace qir {
namespace {

struct Plain {
  using Element = int16_t;
  static constexpr int kAtOnce = 4, kRows = 4;
  static constexpr int64_t kGathered = 1, kColumns = 16, kDepth = 2, kInner = 2;
  static constexpr int64_t kOffset = 0;
  static constexpr bool kCrosses = false;
  using Ready = AlwaysReady;

  static int16_t element(uint8_t stored, bool is_signed) {
    return is_signed ? static_cast<int8_t>(stored) : stored;
  }

  template <typename Pending>
  static void multiply(int64_t count, const Left<Element>& left, const int8_t* b,
                       int32_t (*acc)[kColumns], bool, Pending& pending) {
    pending();
    by_count<Plain>(count, left, b, acc);
  }

  template <int kCount, typename Weight>
  static void product(const Left<Element>& left, const Weight* b, int32_t (*acc)[kColumns]) {
    for (int r = 0; r < kCount; ++r) std::fill_n(acc[r], kColumns, 0);
    for (int64_t run = 0; run < left.runs; ++run) {
      const Element* a = left.rows + left.starts[run];
      for (int64_t k = 0; k < left.steps; ++k, b += kColumns * kDepth)
        for (int r = 0; r < kCount; ++r)
          for (int64_t j = 0; j < kColumns; ++j)
            acc[r][j] += a[r * left.pitch + 2 * k] * b[2 * j] + a[r * left.pitch + 2 * k + 1] * b[2 * j + 1];
    }
  }
};

}  // namespace

const Kernels kPlain = kernels_of<Plain>("plain");

}  // namespace qir
