// oneDNN on a team of ours.
//
// oneDNN is built to run on OpenMP's threads, and OpenMP's runtime has one pool for each thread that computes, which
// spins for milliseconds after each parallel region: beside another process on the same cores, everything takes twenty
// times as long. So the addon defines the few functions of the runtime that oneDNN calls. The dynamic linker finds them
// before the runtime's, since the addon is what Node.js loads and oneDNN comes as its dependency; nothing else in the
// process sees them. On a thread that leads a ThreadTeam or works in one they run on that team, and on every other
// thread they hand on to the runtime.
//
// Where oneDNN was in the process before this addon (another addon's, or preloaded), it keeps the runtime. Then our
// kernels run on the runtime's threads as well, since two pools would take the cores from one another.
#pragma once

#include <dnnl.hpp>
#include <functional>

namespace onehead::cpu::openmp {

/** Whether oneDNN runs on the teams of the threads that call it, or on no runtime of OpenMP's that is known here. */
bool takesOver(const dnnl::engine& engine);
/** A parallel region of the runtime: calls body(thread, threads) on each thread. */
void parallel(int threads, const std::function<void(int thread, int threads)>& body);
/** For the calling thread, as omp_set_num_threads. */
void setThreads(int threads);

}  // namespace onehead::cpu::openmp
