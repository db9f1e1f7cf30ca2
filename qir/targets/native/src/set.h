// Every kernel, for an instruction set. What includes this says before what it compiles for.
#pragma once

#include "batch_dot.h"
#include "depthwise.h"
#if QIR_TAPS == 4
#include "depthwise_fours.h"
#elif QIR_TAPS == 2
#include "depthwise_pairs.h"
#endif
#include "hybrid.h"
#include "kernels.h"
#include "pools.h"
#include "rows.h"
#include "ways.h"

namespace qir {
namespace {

// Crossed: multiplies long rows, if that is not Isa.
template <typename Isa, typename Crossed = Isa>
constexpr Kernels kernels_of(const char* name) {
  return {name, {Isa::kColumns, Isa::kDepth, Isa::kInner, Isa::kGathered, Isa::kOffset,
                 QIR_TAPS, Crossed::kCrosses}, conv<Isa, Crossed>,
#if QIR_TAPS == 4
          depthwise_by_fours,
#elif QIR_TAPS == 2
          depthwise_by_pairs,
#else
          depthwise,
#endif
          batch_dot<Isa>, hybrid_conv<Isa, Crossed>, hybrid_depthwise, pool, softmax,
          norm, table};
}

}  // namespace
}  // namespace qir
