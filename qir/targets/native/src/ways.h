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
void conv(const Product<Isa>& product) {
  const Padded<Isa> padded{product};
  if (padded.serves())
    padded.run();
  else
    product.run();
}

// Crossed: multiplies where the windows say so, if that is not Isa.
template <typename Isa, typename Crossed>
void conv(const Windows& windows, const Convolution& convolution) {
#if QIR_TAPS < 4
  if (convolution.transformed != nullptr)
    return Winograd<Isa>{Product<Isa>{windows, convolution}}.run();
#endif
  if (windows.crosses)
    conv(Product<Crossed>{windows, convolution});
  else
    conv(Product<Isa>{windows, convolution});
}

}  // namespace
}  // namespace qir
