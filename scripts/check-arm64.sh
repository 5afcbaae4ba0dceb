#!/bin/sh
# Builds the addon for arm64 Linux with a cross compiler. On Debian or Ubuntu it needs
#   sh scripts/setup.sh g++-aarch64-linux-gnu
# oneDNN for arm64 is not needed: the addon's symbols of it stay open until it is loaded.
set -eu
cd "$(dirname "$0")/.."
folder=build/arm64

# Its headers alone: others of this machine's architecture must not be found.
mkdir -p "$folder/include"
cp -r /usr/include/dnnl* /usr/include/oneapi "$folder/include" 2>/dev/null || cp -r /usr/include/dnnl* "$folder/include"

cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DONEHEAD_CUDA=OFF -DONEHEAD_OUTPUT="$PWD/$folder/output" \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DONEHEAD_ONEDNN_INCLUDE="$PWD/$folder/include" -DONEHEAD_ONEDNN_LIBRARY=m
cmake --build "$folder" --target onehead
