'use strict';
// Part of npm's `prepare` in a clone: links the command in node_modules/.bin, where `npx onehead` looks first.
// Otherwise npx packs, installs and builds the clone again, and reports no error if that fails.
const { chmodSync, existsSync, rmSync, symlinkSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const bin = path.join(root, 'node_modules', '.bin');
const target = path.join(root, 'dist', 'cli', 'main.js');
if (process.platform !== 'win32' && existsSync(bin)) {
  chmodSync(target, 0o755);
  const link = path.join(bin, 'onehead');
  rmSync(link, { force: true });
  symlinkSync(path.relative(bin, target), link);
}
