#!/bin/sh
# compute-sanitizer over the operations' tests on a real GPU: memory, races, unwritten memory. `npm run test:sanitize [-- TOOL...]`
set -eu
[ $# -gt 0 ] || set -- memcheck racecheck initcheck
command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer was not found: it comes with the CUDA toolkit." >&2; exit 1; }
for tool in "$@"; do
  echo "== $tool"
  # One process, few cases: a kernel runs tens of times slower under it. cuBLASLt's own kernels are not ours to check.
  ONEHEAD_TEST_GPU=1 compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 1 --kernel-name-exclude regex:cublas\|cutlass \
    node node_modules/vitest/vitest.mjs run --pool=threads --no-file-parallelism test/device
done
