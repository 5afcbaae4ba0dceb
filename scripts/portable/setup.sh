#!/bin/sh
# Installs the tools of scripts/portable/build.cjs, besides those of scripts/setup.sh, on Debian or Ubuntu, into
# ~/.cache/onehead/portable (0.5 GB): zig's C++ compiler from PyPI, which links against any glibc and cross-compiles,
# and oneDNN's source from Debian.
#   sh scripts/portable/setup.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder="${ONEHEAD_PORTABLE:-${XDG_CACHE_HOME:-$HOME/.cache}/onehead/portable}"
sh "$here/../setup.sh" python3-venv debian-archive-keyring ca-certificates xz-utils
mkdir -p "$folder"
cd "$folder"

if [ ! -x zig/zig ]; then
  python3 -m venv zig
  zig/bin/pip install -q --disable-pip-version-check 'ziglang==0.17.*'
  (cd zig && ln -sfn lib/python3*/site-packages/ziglang/zig zig)
fi

version=3.7.2
archive="onednn_$version+ds.orig.tar.xz"
checksum=0cc51ca26c1af6a2bb1e71e378e7046f3ceb3e71791ee9d4e246d50f904a6ea6
# If trim-onednn.sh has changed since the source was unpacked, it is unpacked and trimmed again.
recipe=$(sha256sum <"$here/trim-onednn.sh")
if [ "$(cat "oneDNN-$version/.recipe" 2>/dev/null)" != "$recipe" ]; then
  rm -rf "oneDNN-$version"* build-*
  # Separate package lists: those of the machine are not changed.
  mkdir -p apt/lists/partial
  echo 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main' >apt/sources.list
  apt="-o Dir::Etc::sourcelist=$folder/apt/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$folder/apt/lists"
  # shellcheck disable=SC2086 # a list of words
  apt-get -q $apt update
  # shellcheck disable=SC2086
  apt-get -q $apt source --download-only --tar-only "onednn" || apt-get -q $apt source --download-only onednn
  echo "$checksum  $archive" | sha256sum -c -
  tar -xf "$archive"
  rm -rf apt onednn_*
  (cd "oneDNN-$version" && sh "$here/trim-onednn.sh")
  echo "$recipe" >"oneDNN-$version/.recipe"
fi
