#include "cublas_lt_library.h"

#include <dlfcn.h>

namespace onehead::cuda::cublas_lt {

namespace {

/** Null unless the library has every function. Never closed, since its kernels are registered with the driver. */
const Library* open(const char* name) {
  void* opened = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  if (!opened) return nullptr;
  static Library library;
  library.name = name;
  bool complete = true;
  auto find = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(opened, symbol));
    complete = complete && function;
  };
  find(library.create, "cublasLtCreate");
  find(library.destroy, "cublasLtDestroy");
  find(library.descriptionCreate, "cublasLtMatmulDescCreate");
  find(library.descriptionSet, "cublasLtMatmulDescSetAttribute");
  find(library.descriptionDestroy, "cublasLtMatmulDescDestroy");
  find(library.layoutCreate, "cublasLtMatrixLayoutCreate");
  find(library.layoutDestroy, "cublasLtMatrixLayoutDestroy");
  find(library.preferenceCreate, "cublasLtMatmulPreferenceCreate");
  find(library.preferenceSet, "cublasLtMatmulPreferenceSetAttribute");
  find(library.preferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  find(library.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(library.matmul, "cublasLtMatmul");
  if (complete) return &library;
  dlclose(opened);
  return nullptr;
}

}  // namespace

const Library* library() {
  static const Library* const found = [] {
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"})
      if (const Library* library = open(name)) return library;
    return static_cast<const Library*>(nullptr);
  }();
  return found;
}

}  // namespace onehead::cuda::cublas_lt
