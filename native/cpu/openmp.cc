#include "openmp.h"

#include <dlfcn.h>

#include "team.h"

namespace onehead::cpu {

namespace {

using Body = void (*)(void*);

/** The runtime's own functions; null if the process has no OpenMP runtime. */
struct Runtime {
  void (*parallel)(Body, void*, unsigned, unsigned);
  void (*barrier)();
  int (*maxThreads)();
  int (*threadCount)();
  int (*threadIndex)();
  int (*inParallel)();
  void (*setThreads)(int);
  void (*setDynamic)(int);
};

template <class Function>
void find(Function& function, const char* name) {
  function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

const Runtime& runtime() {
  static const Runtime found = [] {
    Runtime runtime;
    find(runtime.parallel, "GOMP_parallel");
    find(runtime.barrier, "GOMP_barrier");
    find(runtime.maxThreads, "omp_get_max_threads");
    find(runtime.threadCount, "omp_get_num_threads");
    find(runtime.threadIndex, "omp_get_thread_num");
    find(runtime.inParallel, "omp_in_parallel");
    find(runtime.setThreads, "omp_set_num_threads");
    find(runtime.setDynamic, "omp_set_dynamic");
    return runtime;
  }();
  return found;
}

/** Set when oneDNN's query of the number of threads arrives here. */
thread_local bool asked = false;

/** The team on which the calling thread's regions run; null if they run in the runtime. */
ThreadTeam* team() {
  ThreadTeam* led = ThreadTeam::led();
  return led && led->ownsThreads() ? led : nullptr;
}

}  // namespace

namespace openmp {

bool takesOver(const dnnl::engine& engine) {
  asked = false;
  const dnnl::memory::desc one({1}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a);
  dnnl::reorder(dnnl::reorder::primitive_desc(engine, one, engine, one));
  return asked || !runtime().parallel;
}

void parallel(int threads, const std::function<void(int thread, int threads)>& body) {
  const Body region = [](void* data) {
    (*static_cast<const std::function<void(int, int)>*>(data))(runtime().threadIndex(), runtime().threadCount());
  };
  runtime().parallel(region, const_cast<void*>(static_cast<const void*>(&body)), unsigned(threads), 0);
}

void setThreads(int threads) {
  runtime().setDynamic(0);
  runtime().setThreads(threads);
}

}  // namespace openmp

}  // namespace onehead::cpu

// The OpenMP functions that oneDNN 2 and 3 call, under the names that GCC and omp.h use.
#define ONEHEAD_FOR_ONEDNN extern "C" __attribute__((visibility("default")))

using onehead::cpu::runtime;
using onehead::cpu::team;
using onehead::cpu::Team;
using onehead::cpu::ThreadTeam;

ONEHEAD_FOR_ONEDNN void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags) {
  if (ThreadTeam::part()) return ThreadTeam::runAlone([&] { body(data); });  // a nested region
  if (ThreadTeam* ours = team())
    return ours->run([&](const Team&) { body(data); }, threads ? int(threads) : ours->threads());
  if (runtime().parallel) return runtime().parallel(body, data, threads, flags);
  ThreadTeam::runAlone([&] { body(data); });
}

ONEHEAD_FOR_ONEDNN void GOMP_barrier() {
  if (const Team* part = ThreadTeam::part()) return part->barrier();
  if (!team() && runtime().barrier) runtime().barrier();
}

ONEHEAD_FOR_ONEDNN int omp_get_max_threads() {
  onehead::cpu::asked = true;
  if (ThreadTeam* ours = team()) return ours->threads();
  if (const Team* part = ThreadTeam::part()) return part->threads;
  return runtime().maxThreads ? runtime().maxThreads() : 1;
}

ONEHEAD_FOR_ONEDNN int omp_get_num_threads() {
  if (const Team* part = ThreadTeam::part()) return part->threads;
  return !team() && runtime().threadCount ? runtime().threadCount() : 1;
}

ONEHEAD_FOR_ONEDNN int omp_get_thread_num() {
  if (const Team* part = ThreadTeam::part()) return part->thread;
  return !team() && runtime().threadIndex ? runtime().threadIndex() : 0;
}

ONEHEAD_FOR_ONEDNN int omp_in_parallel() {
  if (const Team* part = ThreadTeam::part()) return part->threads > 1;
  return !team() && runtime().inParallel ? runtime().inParallel() : 0;
}
