'use strict';
// npm's `install` script: nothing to do where a binary that came with the package loads; otherwise builds from source.
const path = require('node:path');

const root = path.join(__dirname, '..');
if (process.env.npm_config_build_from_source !== 'true') {
  try {
    process.env.PREBUILDS_ONLY = '1'; // an old build beside it must not pass for the package's binary
    require('node-gyp-build')(root);
    process.exit(0);
  } catch {
    delete process.env.PREBUILDS_ONLY;
    console.error('onehead: no prebuilt addon fits this machine; building it from source.');
  }
}
require('./build-native.cjs');
