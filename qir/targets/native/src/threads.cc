#include "threads.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace qir {
namespace {

// Layers follow each other within microseconds: a worker looks again so often before it sleeps.
constexpr int kLooks = 4000;

void rest() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

struct Job {
  int64_t count;
  void (*task)(int64_t, void*);
  void* state;
};

// The tasks of one thread: it takes them from the front, and those who have done their own from the
// back. So layer after layer a thread mostly reads what it wrote itself, in its own caches.
struct alignas(64) Share {
  std::atomic<int64_t> left{0}, back{0};
  int64_t front = 0;

  void fill(int64_t first, int64_t last) {
    front = first;
    back.store(last, std::memory_order_relaxed);
    left.store(last - first, std::memory_order_relaxed);
  }

  bool has_one() {
    return left.load(std::memory_order_relaxed) > 0 &&
           left.fetch_sub(1, std::memory_order_relaxed) > 0;
  }
};

class Pool {
 public:
  explicit Pool(int64_t threads) : shares_(threads) {
    for (int64_t i = 1; i < threads; ++i) std::thread([this, i] { work(i); }).detach();
  }

  void run(const Job& job) {
    std::unique_lock<std::mutex> owner(owner_, std::try_to_lock);
    const int64_t threads = shares_.size();
    if (threads == 1 || job.count == 1 || !owner.owns_lock()) {
      for (int64_t i = 0; i < job.count; ++i) job.task(i, job.state);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = job;
      for (int64_t i = 0; i < threads; ++i)
        shares_[i].fill(job.count * i / threads, job.count * (i + 1) / threads);
      open_ = true;
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    take(job, 0);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      open_ = false;  // who comes now is too late: nobody waits for a worker that still sleeps
    }
    while (active_.load(std::memory_order_acquire) != 0) rest();
  }

 private:
  void take(const Job& job, int64_t own) {
    Share& mine = shares_[own];
    while (mine.has_one()) job.task(mine.front++, job.state);
    const int64_t threads = shares_.size();
    for (int64_t i = 1; i < threads; ++i) {
      Share& other = shares_[(own + i) % threads];
      while (other.has_one())
        job.task(other.back.fetch_sub(1, std::memory_order_relaxed) - 1, job.state);
    }
  }

  void work(int64_t own) {
    for (uint64_t seen = 0;;) {
      await(seen);
      Job job;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        seen = round_.load(std::memory_order_relaxed);
        if (!open_) continue;
        active_.fetch_add(1, std::memory_order_relaxed);
        job = job_;
      }
      take(job, own);
      active_.fetch_sub(1, std::memory_order_release);
    }
  }

  void await(uint64_t seen) {
    for (int i = 0; i < kLooks; ++i) {
      if (round_.load(std::memory_order_acquire) != seen) return;
      rest();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
  }

  std::mutex owner_, mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> round_{0};
  std::atomic<int64_t> active_{0};
  std::vector<Share> shares_;
  bool open_ = false;
  Job job_{};
};

int64_t affinity() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  return std::thread::hardware_concurrency();
}

}  // namespace

int64_t thread_count() {
  static const int64_t count = [] {
    const char* said = std::getenv("QIR_NUM_THREADS");
    const int64_t wanted = said == nullptr ? 0 : std::atoll(said);
    return wanted > 0 ? wanted : affinity() > 0 ? affinity() : 1;
  }();
  return count;
}

void parallel(int64_t count, void (*task)(int64_t, void*), void* state) {
  // Never destroyed: its threads may outlive the statics of this library.
  static Pool* pool = new Pool(thread_count());
  if (count > 0) pool->run({count, task, state});
}

}  // namespace qir
