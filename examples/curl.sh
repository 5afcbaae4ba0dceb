#!/bin/sh
# Uses onehead's server with curl:
#
#     npx onehead serve openai/whisper-small
#     sh examples/curl.sh talk.mp3
#
# Fields come before the file, so that it is decoded during the upload.
set -e
file=$1
server=${2:-http://localhost:8000}

echo "# the text"
curl -sS --fail-with-body -F model=whisper-1 -F response_format=text -F file=@"$file" "$server/v1/audio/transcriptions"

echo "# subtitles"
curl -sS --fail-with-body -F model=whisper-1 -F response_format=srt -F file=@"$file" "$server/v1/audio/transcriptions"

echo "# text while it is decoded"
curl -sS --fail-with-body -N -F model=whisper-1 -F stream=true -F file=@"$file" "$server/v1/audio/transcriptions"

echo "# split at silences, decoded in parallel"
curl -sS --fail-with-body -F model=whisper-1 -F chunking_strategy=auto -F file=@"$file" "$server/v1/audio/transcriptions"
echo
