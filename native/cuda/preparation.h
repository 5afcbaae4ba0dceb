// From a recorded operation to the kernels that compute it.
#pragma once

#include "cublas_lt.h"
#include "executable.h"

namespace onehead::cuda {

/** Adds the launches of all operations to the executable. Throws Error NOT_SUPPORTED where there is no kernel. */
void prepareOperations(CudaExecutable& executable, Context& context, Workspace& workspace, CublasLt* cublasLt);

}  // namespace onehead::cuda
