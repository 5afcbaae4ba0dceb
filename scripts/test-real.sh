#!/bin/sh
# Tests with a real checkpoint and real speech, which are too large for the repository: a minute or two on two cores.
#   ONEHEAD_REAL_CHECKPOINT  a folder of OpenAI's Whisper base, as Hugging Face has it
#   ONEHEAD_REAL_AUDIO       a folder with manifest.json and its recordings
# Unless given, both are looked for in ../shared/real, whose `setup` makes the checkpoint and prints where. Without them it says so and succeeds.
set -eu
cd "$(dirname "$0")/.."
shared=../shared/real

skip() {
  echo "test:real: skipped: $1; name them with ONEHEAD_REAL_CHECKPOINT and ONEHEAD_REAL_AUDIO"
  exit 0
}

: "${ONEHEAD_REAL_AUDIO:=$shared}"
[ -f "$ONEHEAD_REAL_AUDIO/manifest.json" ] || skip "there are no recordings in $ONEHEAD_REAL_AUDIO"
if [ -z "${ONEHEAD_REAL_CHECKPOINT:-}" ]; then
  [ -x "$shared/setup" ] || skip "there is no checkpoint"
  ONEHEAD_REAL_CHECKPOINT=$("$shared/setup") || skip "$shared/setup could not make the checkpoint"
fi
[ -f "$ONEHEAD_REAL_CHECKPOINT/config.json" ] || skip "there is no checkpoint in $ONEHEAD_REAL_CHECKPOINT"
export ONEHEAD_REAL_AUDIO ONEHEAD_REAL_CHECKPOINT
exec npx vitest run test/real
