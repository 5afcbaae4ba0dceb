/** What a release is refused for, and what its README says on npm's page. */
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';

const { newestEntry, packageFaults, versionFaults, withAbsoluteLinks } = createRequire(import.meta.url)(
  '../../scripts/release.cjs',
);

describe('a release', () => {
  it('has one version, and a date', () => {
    expect(newestEntry('# Changelog\n\n## 1.2.0, 2026-03-01\n\n## 1.1.0, 2026-01-01\n')).toEqual({
      version: '1.2.0',
      date: '2026-03-01',
    });
    expect(newestEntry('## 0.1.0, not yet released\n')).toEqual({ version: '0.1.0', date: null });
    const manifest = { version: '1.2.0' };
    const good = { manifest, lock: { version: '1.2.0' }, changelog: '## 1.2.0, 2026-03-01\n' };
    expect(versionFaults(good)).toEqual([]);
    expect(versionFaults({ ...good, lock: { version: '1.1.0' } })[0]).toMatch(
      /^package-lock\.json has version 1\.1\.0/,
    );
    expect(versionFaults({ ...good, changelog: '## 1.1.0, 2026-01-01\n' })[0]).toMatch(
      /newest entry of CHANGELOG\.md is 1\.1\.0/,
    );
    expect(versionFaults({ ...good, changelog: '## 1.2.0, not yet released\n' })[0]).toMatch(/has no date/);
  });

  it('holds what it points to, and no source maps', () => {
    const manifest = {
      exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' } },
      bin: { x: 'dist/x.js' },
      main: './dist/index.js',
      types: './dist/index.d.ts',
    };
    const files = ['dist/index.js', 'dist/index.d.ts', 'dist/x.js', 'docs/a.md', 'examples/b.mjs'];
    const readme = '[a](docs/a.md#part) [b](examples) [c](https://example.com) [d](#install)';
    expect(packageFaults(files, manifest, readme)).toEqual([]);
    expect(packageFaults(['dist/index.js', 'dist/index.js.map'], manifest, readme)).toEqual([
      'package.json points to dist/index.d.ts, which is not packed.',
      'package.json points to dist/x.js, which is not packed.',
      'package.json points to dist/index.d.ts, which is not packed.',
      'README.md links to docs/a.md, which is not packed.',
      'README.md links to examples, which is not packed.',
      'dist/index.js.map is packed, a source map without its source.',
    ]);
  });
});

it('npm’s page has absolute links: to the repository where one is named, else to the package’s files', () => {
  const text = '[docs](docs/a.md#part) ![plot](docs/a.svg) [here](#install) [there](https://example.com)';
  const manifest = { name: 'onehead', version: '1.2.0' };
  expect(withAbsoluteLinks(text, manifest)).toBe(
    '[docs](https://unpkg.com/onehead@1.2.0/docs/a.md#part) ![plot](https://unpkg.com/onehead@1.2.0/docs/a.svg) [here](#install) [there](https://example.com)',
  );
  const repository = { type: 'git', url: 'git+https://example.com/who/onehead.git' };
  expect(withAbsoluteLinks(text, { ...manifest, repository })).toBe(
    '[docs](https://example.com/who/onehead/blob/v1.2.0/docs/a.md#part) ![plot](https://unpkg.com/onehead@1.2.0/docs/a.svg) [here](#install) [there](https://example.com)',
  );
});
