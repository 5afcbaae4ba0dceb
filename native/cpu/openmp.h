// Runs oneDNN on our team of threads.
//
// oneDNN is compiled for OpenMP, whose runtime keeps a pool of threads for each thread that opens parallel regions.
// These threads spin for milliseconds after each region: with another process on the same cores, everything takes
// twenty times as long. So the addon defines those functions of the runtime that oneDNN calls. The dynamic linker finds
// them before the runtime's, since Node.js loads the addon, and oneDNN as its dependency; nothing else in the process
// sees them. On a thread that leads a ThreadTeam or works in one, they run on that team; on other threads they call the
// runtime.
//
// If oneDNN was loaded before this addon (by another addon, or preloaded), it keeps using the runtime. Then our kernels
// use the runtime's threads as well, since two pools would compete for the cores: from the first program on that uses
// oneDNN.
#pragma once

#include <dnnl.hpp>
#include <functional>

namespace onehead::cpu::openmp {

/** Whether oneDNN runs on the team of the thread that calls it, or uses no OpenMP runtime known here. */
bool takesOver(const dnnl::engine& engine);
/** Opens a parallel region of the runtime, which calls body(thread, threads) on each thread. */
void parallel(int threads, const std::function<void(int thread, int threads)>& body);
/** omp_set_num_threads for the calling thread. */
void setThreads(int threads);

}  // namespace onehead::cpu::openmp
