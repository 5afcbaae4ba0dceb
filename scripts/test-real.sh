#!/bin/sh
# Tests with a real checkpoint and real speech, which are too large for the repository. They take a minute or two on two
# cores.
#   ONEHEAD_REAL_CHECKPOINT  a Hugging Face folder of OpenAI's Whisper base
#   ONEHEAD_REAL_AUDIO       a folder with manifest.json and its recordings
# The default is ../shared/real, whose script `setup` creates the checkpoint and prints its folder. If they are missing,
# the tests are skipped with a message.
set -eu
cd "$(dirname "$0")/.."
shared=../shared/real

skip() {
  echo "test:real: skipped: $1; set ONEHEAD_REAL_CHECKPOINT and ONEHEAD_REAL_AUDIO"
  exit 0
}

: "${ONEHEAD_REAL_AUDIO:=$shared}"
[ -f "$ONEHEAD_REAL_AUDIO/manifest.json" ] || skip "there are no recordings in $ONEHEAD_REAL_AUDIO"
if [ -z "${ONEHEAD_REAL_CHECKPOINT:-}" ]; then
  [ -x "$shared/setup" ] || skip "there is no checkpoint"
  ONEHEAD_REAL_CHECKPOINT=$("$shared/setup") || skip "$shared/setup could not create the checkpoint"
fi
[ -f "$ONEHEAD_REAL_CHECKPOINT/config.json" ] || skip "there is no checkpoint in $ONEHEAD_REAL_CHECKPOINT"
export ONEHEAD_REAL_AUDIO ONEHEAD_REAL_CHECKPOINT
exec npx vitest run test/real
