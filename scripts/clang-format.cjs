'use strict';
// Formats the native sources; with --check, reports the files that are not formatted.
const { execFileSync, spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const listed = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', 'native', 'test/native'],
  {
    cwd: root,
    encoding: 'utf8',
  },
);
const files = listed.split('\n').filter((file) => /\.(h|cc|cu|cuh)$/.test(file) && existsSync(path.join(root, file)));
const options = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
const result = spawnSync('clang-format', [...options, ...files], { cwd: root, stdio: 'inherit' });
if (result.error) {
  console.error('clang-format was not found; install it: apt-get install clang-format');
  process.exit(1);
}
process.exit(result.status ?? 1);
