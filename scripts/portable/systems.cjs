'use strict';
// The systems for which there is a package. npm chooses by os, cpu and libc; one with `byName` is installed by name.
module.exports = {
  'linux-x64': { os: 'linux', cpu: 'x64', triple: 'x86_64-linux-gnu', text: 'Linux on x86-64' },
  'linux-arm64': { os: 'linux', cpu: 'arm64', triple: 'aarch64-linux-gnu', text: 'Linux on arm64' },
  'linux-x64-cuda': {
    ...{ os: 'linux', cpu: 'x64', triple: 'x86_64-linux-gnu', text: 'Linux on x86-64 with an NVIDIA GPU' },
    ...{ cuda: true, byName: true },
  },
};
