// Memory that a thread keeps from call to call, aligned to lines of the cache: a tile whose rows
// straddle two lines each takes half as long again to load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace qir {

template <typename T>
struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  Aligned() = default;
  template <typename Other>
  Aligned(const Aligned<Other>&) {}

  T* allocate(size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kLine)); }
  void deallocate(T* at, size_t) { ::operator delete(at, kLine); }

  friend bool operator==(const Aligned&, const Aligned&) { return true; }
  friend bool operator!=(const Aligned&, const Aligned&) { return false; }
};

template <typename T>
using Scratch = std::vector<T, Aligned<T>>;

}  // namespace qir
