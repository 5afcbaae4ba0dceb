// The part of OpenMP's header that oneDNN uses, for a compiler that comes without it. native/cpu/openmp.cc defines the
// functions.
#pragma once
#ifdef __cplusplus
extern "C" {
#endif
int omp_get_max_threads(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);
int omp_in_parallel(void);
void omp_set_num_threads(int threads);
#ifdef __cplusplus
}
#endif
