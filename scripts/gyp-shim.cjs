#!/usr/bin/env node
// For `prebuildify --node-gyp`: the same build, without node-gyp's Python, make and headers.
process.argv.length = 2; // node-gyp's own arguments mean nothing here
require('./build-native.cjs');
