// The lines of a depthwise result, whose windows share what they see: a column of a line is what
// the taps across it see at one place, brought together so many taps at once, and windows read
// their columns. kTaps: as many taps; kBlock: channels at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "threads.h"
#include "tiles.h"

namespace qir {
namespace {

constexpr int64_t kColumnBytes = 16 * 1024;  // of columns at a time, which stay in the first cache

// One axis of an image and its windows; pitch: from one place of x, or of y, to the next.
struct Axis {
  int64_t size, kernel, stride, dilation, before, out, x_pitch, y_pitch;
};

// Where a tap across a line is read in one block of channels; pitch: to the next column, 0 outside
// of the image.
struct Tap {
  const uint8_t* from;
  int64_t pitch;
};

template <int64_t kTaps, int64_t kBlock>
struct Lines {
  const Windows& w;
  Axis across = axis(taps_lie_across(w, kTaps) ? 0 : 1);
  Axis along = axis(taps_lie_across(w, kTaps) ? 1 : 0);
  int64_t groups = ceil_div(across.kernel, kTaps), blocks = ceil_div(w.channels, kBlock);
  int64_t reach = (along.kernel - 1) * along.dilation + 1;  // columns that a window spans
  int64_t furthest = blocks * kBlock;                       // where a block begins at most

  Axis axis(int i) const {
    const int64_t pitch = i == 0 ? w.channels * w.width : w.channels;
    const int64_t y_pitch = i == 0 ? w.outputs * w.out_width : w.outputs;
    return {i == 0 ? w.height : w.width, w.kernel[i], w.stride[i], w.dilation[i], w.before[i],
            i == 0 ? w.out_height : w.out_width, pitch, y_pitch};
  }

  // Where a block of channels begins.
  int64_t first_of(int64_t block) const { return std::min(block * kBlock, furthest); }

  // The taps across the line `at` of the image x, from a channel on; those outside see `fill`.
  void find(const uint8_t* x, int64_t at, int64_t channel, const uint8_t* fill,
            std::vector<Tap>& taps) const {
    taps.resize(kTaps * groups);
    for (int64_t t = 0; t < kTaps * groups; ++t) {
      // The last tap once more where there is none: its weights are zero.
      const int64_t tap = std::min(t, across.kernel - 1);
      const int64_t place = at * across.stride - across.before + tap * across.dilation;
      taps[t] = place >= 0 && place < across.size
                    ? Tap{x + place * across.x_pitch + channel, along.x_pitch}
                    : Tap{fill, 0};
    }
  }

  // A line of so many windows in equal pieces, whose columns of so many bytes each stay in the first
  // cache; most: how many columns a piece has.
  struct Pieces {
    int64_t windows, count, most;

    template <typename Act>
    void each(const Act& act) const {
      for (int64_t i = 0; i < count; ++i) act(windows * i / count, windows * (i + 1) / count);
    }
  };

  Pieces pieces_of(int64_t windows, int64_t bytes) const {
    const int64_t fitting = (kColumnBytes / bytes - reach) / along.stride;
    const int64_t count = ceil_div(windows, std::max<int64_t>(fitting, 8));
    return {windows, count, (ceil_div(windows, count) - 1) * along.stride + reach};
  }

  // Calls act(taps, fill, block, y) for every block of every line; y: where the block of it goes.
  template <typename Act>
  void run(const Depthwise& d, const Act& act) const {
    const int64_t lines = w.n * across.out;
    const int64_t parts = lines >= 8 * thread_count() ? 1 : std::min(blocks, thread_count());
    parallel_for(lines * parts, [&](int64_t task) {
      const int64_t part = task % parts, line = task / parts;
      const int64_t image = line / across.out, at = line % across.out;
      alignas(64) uint8_t fill[kBlock];
      std::fill_n(fill, kBlock, d.fill);
      const uint8_t* const x = d.x + image * w.height * w.width * w.channels;
      uint8_t* const y =
          d.y + image * w.out_height * w.out_width * w.outputs + at * across.y_pitch;
      thread_local std::vector<Tap> taps;
      for (int64_t block = blocks * part / parts; block < blocks * (part + 1) / parts; ++block) {
        find(x, at, first_of(block), fill, taps);
        act(taps.data(), fill, block, y + first_of(block));
      }
    });
  }
};

}  // namespace
}  // namespace qir
