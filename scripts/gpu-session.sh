#!/bin/sh
# All tests and measurements for a machine with a GPU, the most important first: `npm run gpu:session [-- FOLDER]`.
# Results are stored in FOLDER (default: gpu-session) as they come. If a step fails, the others still run. The addon
# must be built (ONEHEAD_CUDA_ARCHITECTURES=90a-real npm run build:native for a Hopper GPU). Nothing is downloaded.
#   ONEHEAD_SESSION_SECONDS   maximum time of each step (default 240)
#   ONEHEAD_SESSION_DEVICE    cuda (default), or cuda-emulated to test this script
set -u
folder=${1:-gpu-session}
seconds=${ONEHEAD_SESSION_SECONDS:-240}
device=${ONEHEAD_SESSION_DEVICE:-cuda}
failed=0
mkdir -p "$folder"
step() {
  name=$1
  shift
  echo "== $name"
  timeout "$seconds" "$@" >"$folder/$name.log" 2>&1
  code=$?
  [ $code -eq 0 ] && tail -n 40 "$folder/$name.log" && return
  failed=1
  [ $code -eq 124 ] && echo "STOPPED after $seconds seconds; the end of $folder/$name.log:"
  [ $code -ne 124 ] && echo "FAILED with status $code; the end of $folder/$name.log:"
  tail -n 15 "$folder/$name.log"
}
bench="npm run --silent bench -- cuda --device $device"
operations="npm run --silent bench -- operations --device $device"
gpu=1
[ "$device" = cuda ] || gpu=
step doctor node dist/cli/main.js doctor
# Devices that are opened and closed while others record; then all operations.
step lifetimes env ONEHEAD_TEST_GPU=$gpu npx vitest run test/device/lifetimes.test.ts
if [ -n "$gpu" ]; then
  step tests npm run --silent test:gpu
else
  step tests npx vitest run test/cases/attention.test.ts
fi
# Steps at small batches. Traces have the time of each kernel.
step steps-multi-head $bench --only steps --models tiny,base,turbo,large-v3,small --attentions multi-head --batches 1,8 --trace "$folder/steps-multi-head-trace.json" --output "$folder/steps-multi-head.json"
# The operations of a step. What was measured before is under "History" in each kernel's file, and in
# docs/performance.md.
sample="We will return on Thursday. Add honey and chicken to the shopping list. Move left forty five meters."
changed="--only linear --only self-attention --only cross-attention --only nextToken --only layerNorm"
step changed $operations $changed --batches 1,8,32 --output "$folder/changed.json"
command -v "${ONEHEAD_NCU:-ncu}" >/dev/null 2>&1 &&
  step counters $operations $changed --ncu --batches 1 --output "$folder/counters.json"
# A step with weights, caches, or both in 8 bits, compared with float16.
step precision node dist/cli/main.js profile precision --device "$device" --dtype float16 --models turbo,large-v3 --batch 32,1,8 --seconds 2 --json "$folder/precision.json" --quiet
# Designs that no GPU has measured yet (docs/design-cuda.md): the tests of the one that only runs if it is named, then
# steps and operations without and with each.
[ -n "$gpu" ] && step tests-ring env ONEHEAD_CUDA_WITH=ring ONEHEAD_TEST_GPU=1 npx vitest run test/cases/attention.test.ts test/cases/attention-ring.test.ts test/whisper/model.test.ts
for design in prefetch rows; do
  step "steps-without-$design" env ONEHEAD_CUDA_WITHOUT=$design $bench --only steps --models turbo,large-v3,tiny --attentions multi-head --batches 1,8,32 --output "$folder/steps-without-$design.json"
done
step steps-ring env ONEHEAD_CUDA_WITH=ring $bench --only steps --models turbo,large-v3,tiny --attentions multi-head --batches 1,8,32 --output "$folder/steps-ring.json"
step operations-ring env ONEHEAD_CUDA_WITH=ring $operations --only cross-attention --batches 1,8,32 --output "$folder/operations-ring.json"
step operations-encoder $operations --only layerNorm --only "1500 rows, up" --batches 1,8 --output "$folder/operations-encoder.json"
step operations-without-encoder env ONEHEAD_CUDA_WITHOUT=norm,gelu $operations --only layerNorm --only "1500 rows, up" --batches 1,8 --output "$folder/operations-without-encoder.json"
# Steps with multi-head and multi-query attention; the latter must never be slower.
step steps $bench --only steps --models turbo,large-v3,tiny --batches 1,8,32 --trace "$folder/steps-trace.json" --output "$folder/steps.json"
[ -s "$folder/steps-trace.json" ] && step timeline npm run --silent bench -- timeline "$folder/steps-trace.json" "$folder/steps.svg" --track turbo --title "The kernels of a decode step"
# The effect of 8 bits on the text of the bundled sample.
printf '{"audio": "%s", "text": "%s"}\n' "$PWD/models/micro/sample.flac" "$sample" >"$folder/sample.jsonl"
step accuracy node dist/cli/main.js evaluate "$folder/sample.jsonl" --device "$device" --language en --compare float32,float16,int8
# Concurrent callers with clips of 5 s, whole windows and fitted ones; target: 140 a second, 95% of them within 320 ms.
step serving npm run --silent bench -- serving --random large-v3 --audio models/micro --device "$device" --windows 32 --callers 1,32 --only "5 s" --shares "" --context full,fit --seconds 5 --output "$folder/serving.json"
step encoder $bench --only encoder --models tiny,large-v3 --output "$folder/encoder.json"
step operations $operations --batches 1,8,32 --output "$folder/operations.json"
exit $failed
