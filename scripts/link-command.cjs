'use strict';
// Of npm's `prepare`, in a clone: puts the command where `npx onehead` looks first. Without it npx packs and installs
// the clone once more, which builds again and says nothing when it fails.
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
