// A pool that shares the machine: as many threads as the process may run on, asleep when idle.
#pragma once

#include <cstdint>

namespace qir {

// Runs task(0) to task(count - 1), on all threads of the pool if nobody else has it just now, else
// on the calling thread alone.
void parallel(int64_t count, void (*task)(int64_t, void*), void* state);

template <typename Task>
void parallel_for(int64_t count, const Task& task) {
  parallel(count, [](int64_t i, void* state) { (*static_cast<const Task*>(state))(i); },
           const_cast<Task*>(&task));
}

// How many threads a call uses at most: QIR_NUM_THREADS, or those of the process's affinity.
int64_t thread_count();

}  // namespace qir
