#!/bin/sh
# Runs the tests of operations with compute-sanitizer on a GPU: memory errors, races, uninitialized memory.
# npm run test:sanitize [-- TOOL...]
set -eu
[ $# -gt 0 ] || set -- memcheck racecheck initcheck
command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer was not found; it is part of the CUDA toolkit." >&2; exit 1; }
for tool in "$@"; do
  echo "== $tool"
  # One process at a time, since kernels run tens of times slower. cuBLASLt is excluded.
  ONEHEAD_TEST_GPU=1 compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 1 \
    node node_modules/vitest/vitest.mjs run --no-file-parallelism --test-timeout 600000 -t 'without cuBLASLt' test/cases test/device
done
