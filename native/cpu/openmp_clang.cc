// The OpenMP functions that clang generates calls to, where GCC uses others: for a oneDNN that was compiled by clang
// and linked into the addon, as in packages. They forward to openmp.cc, and are visible only inside the addon.
#include <array>
#include <cstdarg>
#include <cstdint>
#include <utility>

extern "C" {
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags);
void GOMP_barrier();
int omp_get_thread_num();
}

namespace {

/** More than any region of oneDNN has: the addresses of captured variables. */
constexpr std::size_t maxArguments = 16;

using Function = void (*)();

/** A parallel region: the function that clang outlined, and its arguments. */
struct Region {
  Function function;
  std::size_t count;
  void* arguments[maxArguments];
};

using Caller = void (*)(const Region& region, std::int32_t* thread);

/** Calls a region's function with as many arguments as there are indices, after the two that it always has. */
template <std::size_t... index>
constexpr Caller callerOf(std::index_sequence<index...>) {
  return [](const Region& region, std::int32_t* thread) {
    using Exact =
        void (*)(std::int32_t*, std::int32_t*, decltype(static_cast<void>(index), static_cast<void*>(nullptr))...);
    reinterpret_cast<Exact>(region.function)(thread, thread, region.arguments[index]...);
  };
}

template <std::size_t... count>
constexpr std::array<Caller, sizeof...(count)> callersOf(std::index_sequence<count...>) {
  return {callerOf(std::make_index_sequence<count>())...};
}

constexpr auto callers = callersOf(std::make_index_sequence<maxArguments + 1>());

/** Number of threads of the calling thread's next region; 0 if not specified. */
thread_local unsigned wanted = 0;

}  // namespace

#define ONEHEAD_FOR_CLANG extern "C" __attribute__((visibility("hidden")))

ONEHEAD_FOR_CLANG std::int32_t __kmpc_global_thread_num(void*) { return omp_get_thread_num(); }

ONEHEAD_FOR_CLANG void __kmpc_push_num_threads(void*, std::int32_t, std::int32_t threads) {
  wanted = unsigned(threads);
}

ONEHEAD_FOR_CLANG void __kmpc_fork_call(void*, std::int32_t count, Function function, ...) {
  Region region{function, std::size_t(count), {}};
  va_list arguments;
  va_start(arguments, function);
  for (std::size_t i = 0; i < region.count && i < maxArguments; ++i) region.arguments[i] = va_arg(arguments, void*);
  va_end(arguments);
  const unsigned threads = std::exchange(wanted, 0);
  GOMP_parallel(
      [](void* data) {
        const Region& region = *static_cast<const Region*>(data);
        std::int32_t thread = omp_get_thread_num();
        callers[region.count](region, &thread);
      },
      &region, threads, 0);
}

ONEHEAD_FOR_CLANG void __kmpc_barrier(void*, std::int32_t) { GOMP_barrier(); }
