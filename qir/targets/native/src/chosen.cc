// Which set of kernels runs here.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels.h"

#if defined(QIR_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace qir {
namespace {

#if defined(QIR_AMX)
// Whether there are tiles, and Linux lets this process have them: the state of a thread grows.
bool has_tiles() {
  constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // of arch_prctl, asm/prctl.h
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kTile) && (d & kInt8) &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

// The set that QIR_NATIVE names, or else, or if this processor does not run that, the best.
const Kernels& choose() {
  std::vector<const Kernels*> runs;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
#if defined(QIR_AMX)
  if (vnni && __builtin_cpu_supports("avx512vbmi") && has_tiles()) runs.push_back(&kAmx);
#endif
  if (vnni) runs.push_back(&kAvx512Vnni);
  if (avx2) runs.push_back(&kAvx2);
#endif
  runs.push_back(&kPlain);
  const char* said = std::getenv("QIR_NATIVE");
  for (const Kernels* set : runs)
    if (said != nullptr && std::strcmp(said, set->name) == 0) return *set;
  return *runs.front();
}

}  // namespace

const Kernels& chosen() {
  static const Kernels& set = choose();
  return set;
}

}  // namespace qir
