// Which set of kernels runs here.
#include <cstdlib>
#include <cstring>

#include "kernels.h"

namespace qir {
namespace {

const Kernels& choose() {
  const char* said = std::getenv("QIR_NATIVE");
  const auto wanted = [&](const Kernels& set) {
    return said == nullptr || *said == 0 || std::strcmp(said, set.name) == 0;
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool vnni = avx2 && __builtin_cpu_supports("avx512vnni") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
  if (vnni && wanted(kAvx512Vnni)) return kAvx512Vnni;
  if (avx2 && wanted(kAvx2)) return kAvx2;
#endif
  return kPlain;
}

}  // namespace

const Kernels& chosen() {
  static const Kernels& set = choose();
  return set;
}

}  // namespace qir
