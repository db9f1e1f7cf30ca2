// The product that all kernels are made of: some rows by one tile of columns.
//
// An instruction set `Isa` gives: Element, what a gathered number is, and `element`, which makes one;
// kRows, how many rows it multiplies at a time, of memory for a multiple of kGathered; kAtOnce,
// of how many rows tasks are multiples, as many as share a read of the columns; kColumns, kDepth,
// kInner and kOffset, see `Layout`; Ready, which lives while a thread multiplies; and
// multiply(count, left, b, acc, is_signed, pending), acc[count][kColumns] = left[count] * b, where the
// rows are what the bytes of x became, signed or not; before it changes acc it calls pending().
// Where it kCrosses, each sum of a row is more than that by taken(left, row), and by what the packed
// columns add, see `Layout`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels.h"

namespace qir {
namespace {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

struct AlwaysReady {};

// The rows that a product reads, `pitch` elements apart. Each is some runs of `steps` * kDepth
// elements, which start so far from where the row does.
template <typename Element>
struct Left {
  static constexpr int64_t kAtOnce = 0;
  const Element* rows;
  int64_t pitch, steps, runs = 1;
  const int64_t* starts = &kAtOnce;
};

// Products whose sums are written after the first step of the next of them: AMX works on meanwhile.
// write(part, acc) writes them; the last when this goes.
template <typename Isa, typename Part, typename Write>
class Overlapped {
 public:
  using Acc = int32_t (*)[Isa::kColumns];

  explicit Overlapped(const Write& write) : write_(write) {}
  Overlapped(const Overlapped&) = delete;
  ~Overlapped() { (*this)(); }

  // Calls multiply(acc, pending), which overwrites acc when what is pending is written.
  template <typename Multiply>
  void operator()(const Part& part, const Multiply& multiply) {
    multiply(acc_, *this);
    part_ = part, is_pending_ = true;
  }

  // Writes what is pending.
  void operator()() {
    if (is_pending_) write_(part_, acc_);
    is_pending_ = false;
  }

 private:
  alignas(64) int32_t acc_[Isa::kRows][Isa::kColumns];
  typename Isa::Ready ready_;
  const Write& write_;
  Part part_{};
  bool is_pending_ = false;
};

inline void nothing_pending() {}

template <typename Isa, int... kCounts, typename... Arguments>
void by_count(int64_t count, std::integer_sequence<int, kCounts...>,
              const Arguments&... arguments) {
  ((count == kCounts + 1 ? Isa::template product<kCounts + 1>(arguments...) : void()), ...);
}

// `multiply` of a set whose product<kCount> knows its rows when it is compiled, at most kAtOnce: in
// equal parts.
template <typename Isa, typename Weight>
void by_count(int64_t count, Left<typename Isa::Element> left, const Weight* b,
              int32_t (*acc)[Isa::kColumns]) {
  for (int64_t parts = ceil_div(count, Isa::kAtOnce); parts > 0; --parts) {
    const int64_t some = ceil_div(count, parts);
    by_count<Isa>(some, std::make_integer_sequence<int, Isa::kAtOnce>(), left, b, acc);
    left.rows += some * left.pitch, acc += some, count -= some;
  }
}

constexpr int64_t kWhole = 32;

template <typename Isa, bool kSigned>
inline void whole(const uint8_t* __restrict from, typename Isa::Element* __restrict to) {
  for (int64_t i = 0; i < kWhole; ++i) to[i] = Isa::element(from[i], kSigned);
}

// So many elements at once, a number the compiler knows; then half as many, down to one.
template <typename Isa, bool kSigned, int64_t kCount = kWhole>
inline void copied(const uint8_t* __restrict from, int64_t count,
                   typename Isa::Element* __restrict to) {
  for (; count >= kCount; count -= kCount, from += kCount, to += kCount)
    for (int64_t i = 0; i < kCount; ++i) to[i] = Isa::element(from[i], kSigned);
  if constexpr (kCount > 1) copied<Isa, kSigned, kCount / 2>(from, count, to);
}

// `count` pieces of `length` elements, `pitch` apart, one behind the other. Short ones are copied as
// kWhole elements where x goes on for so long: what is too much is overwritten by the next piece, or
// lies behind the last.
template <typename Isa, bool kSigned>
inline void pieces(const uint8_t* from, int64_t count, int64_t pitch, int64_t length,
                   const uint8_t* end, typename Isa::Element* to) {
  const bool is_short = length < kWhole && from + (count - 1) * pitch + kWhole <= end;
  for (int64_t i = 0; i < count; ++i, from += pitch, to += length)
    if (is_short)
      whole<Isa, kSigned>(from, to);
    else
      copied<Isa, kSigned>(from, length, to);
}

template <typename Isa>
inline void pieces(const uint8_t* from, int64_t count, int64_t pitch, int64_t length,
                   bool is_signed, const uint8_t* end, typename Isa::Element* to) {
  if (is_signed)
    pieces<Isa, true>(from, count, pitch, length, end, to);
  else
    pieces<Isa, false>(from, count, pitch, length, end, to);
}

// Hands `act` the width of a tile: a constant, which loops are unrolled for, but at the end.
template <typename Isa, typename Act>
void by_width(int64_t used, const Act& act) {
  if (used == Isa::kColumns)
    act(std::integral_constant<int64_t, Isa::kColumns>());
  else
    act(used);
}

}  // namespace
}  // namespace qir
