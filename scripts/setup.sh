#!/bin/sh
# Installs the packages for building onehead on Debian or Ubuntu, unless they are installed.
#   sh scripts/setup.sh [cuda] [more packages]
# With `cuda`, also installs NVIDIA's CUDA compiler unless there is one: from NVIDIA's packages on PyPI, into a separate
# folder that the build searches.
set -eu

cuda=""
packages="g++ cmake ninja-build libdnnl-dev"
for word in "$@"; do
  if [ "$word" = cuda ]; then cuda=yes; else packages="$packages $word"; fi
done
if [ "$cuda" ] && { [ "${CUDACXX:-}" ] || command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; }; then
  cuda=""
fi
if [ "$cuda" ]; then packages="$packages python3-venv"; fi

missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ]; then sudo=""; else sudo="sudo"; fi
  export DEBIAN_FRONTEND=noninteractive
  $sudo apt-get update -q
  # shellcheck disable=SC2086 # a list of words
  $sudo apt-get install -y -q --no-install-recommends $missing
fi
[ "$cuda" ] || exit 0

# scripts/cuda-toolkit.cjs searches the same folder.
folder="${ONEHEAD_CUDA_TOOLKIT:-${XDG_CACHE_HOME:-$HOME/.cache}/onehead/cuda-13.0}"
if [ -x "$folder/toolkit/bin/nvcc" ]; then exit 0; fi
echo "Installing NVIDIA's CUDA compiler in $folder (300 MB); to uninstall it, remove the folder."
python3 -m venv "$folder"
"$folder/bin/pip" install -q --disable-pip-version-check 'nvidia-cuda-nvcc==13.0.*' 'nvidia-cuda-crt==13.0.*' 'nvidia-nvvm==13.0.*' \
  'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*'
for toolkit in "$folder"/lib/python3*/site-packages/nvidia/cu13; do
  # The layout of NVIDIA's installer, which these packages lack: lib64, a library name without a version, stubs.
  ln -sfn lib "$toolkit/lib64"
  ln -sfn libcudart.so.13 "$toolkit/lib/libcudart.so"
  mkdir -p "$toolkit/lib/stubs"
  # Created last, so that an incomplete installation is not used.
  ln -sfn "$toolkit" "$folder/toolkit"
done
