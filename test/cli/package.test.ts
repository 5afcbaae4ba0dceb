/** The files that `npm publish` would publish. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './command.js';

const { stageMain } = createRequire(import.meta.url)('../../scripts/packages.cjs');

/** The package's files, as selected by npm. */
function packed(): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-package-'));
  try {
    return stageMain(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the package', () => {
  const files = packed();
  const { exports, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

  it('contains the files of its package.json, and an executable command', () => {
    const targets = (value: unknown): string[] =>
      typeof value === 'string' ? [value] : Object.values(value as object).flatMap(targets);
    const entries = ['.', './batch', './profiler', './server'].flatMap((name) => targets(exports[name]));
    for (const target of [...entries, bin.onehead]) expect(files).toContain(target.replace(/^\.\//, ''));
    expect(readFileSync(join(root, bin.onehead), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it.each([
    'LICENSE',
    'README.md',
    'CHANGELOG.md',
    'models/micro/config.json',
    'models/micro/generation_config.json',
    'models/micro/model.safetensors',
    'models/micro/preprocessor_config.json',
    'models/micro/sample.flac',
    'models/micro/tokenizer.json',
    'models/vocabularies/english.br',
    'models/vocabularies/multilingual.br',
  ])('contains %s', (file) => {
    expect(files).toContain(file);
  });

  it('contains the files that README.md links to', () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    for (const [, link] of readme.matchAll(/\]\((?![a-z]+:|#)([^)\s#]+)/g)) {
      expect(
        files.some((file) => file === link || file.startsWith(`${link}/`)),
        link,
      ).toBe(true);
    }
  });

  it('contains the licences of bundled packages, and depends on no build tools', () => {
    expect(files).toContain('dist/bundled/LICENSES.txt');
    const { dependencies, scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    for (const name of ['install', 'preinstall', 'postinstall']) expect(scripts).not.toHaveProperty(name);
    for (const name of ['cmake-js', 'node-addon-api', 'node-gyp-build']) expect(dependencies).not.toHaveProperty(name);
  });

  it('contains no development files', () => {
    const workshop =
      /^(lib|native|scripts|test|tools|bench|build|coverage|site|node_modules|\.ci|\.github)\/|^docs\/(?!profile\/|[^/]+\.md$)|\.map$|\.map$|^models\/(?!(micro|silero-vad|vocabularies)\/)|\.tgz$|\.env/;
    expect(files.filter((file) => workshop.test(file))).toEqual([]);
  });
});
