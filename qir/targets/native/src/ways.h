// The ways a convolution is computed, and which of them one takes.
#pragma once

#include "convolution.h"
#include "kernels.h"
#include "padded.h"
#if QIR_TAPS < 4
#include "winograd.h"
#endif

namespace qir {
namespace {

template <typename Isa>
void conv(const Windows& windows, const Convolution& convolution) {
  const Product<Isa> product{windows, convolution};
#if QIR_TAPS < 4
  if (convolution.transformed != nullptr) return Winograd<Isa>{product}.run();
#endif
  const Padded<Isa> padded{product};
  if (padded.serves())
    padded.run();
  else
    product.run();
}

}  // namespace
}  // namespace qir
