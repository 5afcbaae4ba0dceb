/** The checks of a release, and the README for npm's page. */
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { isOlder, packages } from '../../lib/device/missing-addon.js';

const { nativeFaults, newestEntry, packageFaults, versionFaults, addonVersionFaults, withAbsoluteLinks } =
  createRequire(import.meta.url)('../../scripts/release.cjs');
const systems = createRequire(import.meta.url)('../../scripts/portable/systems.cjs');

describe('a release', () => {
  it('has matching versions and a date', () => {
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

  it('contains the files that it refers to, and no source maps', () => {
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

it('has packages of the same version, and native code only in those with addons', () => {
  const main = {
    name: 'onehead',
    version: '1.2.0',
    optionalDependencies: { '@onehead/linux-x64': '1.2.0' },
    peerDependencies: { '@onehead/linux-x64-cuda': '1.2.0' },
  };
  const addon = (name: string, version: string) => ({ name: `@onehead/${name}`, version });
  expect(addonVersionFaults(main, [addon('linux-x64', '1.2.0'), addon('linux-x64-cuda', '1.2.0')])).toEqual([]);
  expect(addonVersionFaults(main, [addon('linux-x64', '1.1.0'), addon('linux-arm64', '1.2.0')])).toEqual([
    '@onehead/linux-x64 has version 1.1.0, but onehead 1.2.0 requires 1.2.0.',
    '@onehead/linux-arm64 has version 1.2.0, but onehead 1.2.0 requires none.',
  ]);
  expect(nativeFaults(['dist/index.js', 'native/core/device.cc', 'onehead.node'])).toHaveLength(2);
});

it('loads the published packages, the one with CUDA kernels first', () => {
  const made = Object.entries(systems as Record<string, { os: string; cpu: string; cuda?: boolean }>);
  const loaded = packages.map(({ name, system }) => [name, system]);
  expect(new Set(loaded.map(String))).toEqual(
    new Set(made.map(([name, { os, cpu }]) => String([name, `${os}-${cpu}`]))),
  );
  for (const [name, { os, cpu, cuda }] of made) {
    const first = packages.find(({ system }) => system === `${os}-${cpu}`);
    if (cuda) expect(first?.name).toBe(name);
  }
});

it.each([
  [undefined, '2.28', false],
  [null, '2.28', false],
  ['2.28', undefined, false],
  ['2.28', '2.28', false],
  ['2.3.6', '2.28', true],
  ['2.17', '2.3', false],
  ['2.31', '2.4', false],
  ['1.9', '2.0', true],
])('glibc %s is older than %s: %s', (one, than, older) => {
  expect(isOlder(one, than)).toBe(older);
});

describe('the reader of shared libraries', () => {
  const { faults } = createRequire(import.meta.url)('../../scripts/portable/build.cjs');
  const { read } = createRequire(import.meta.url)('../../scripts/portable/elf.cjs');

  it('reads the dependencies of Node.js', () => {
    const { cpu, needed, glibc } = read(process.execPath);
    expect(cpu).toBe(process.arch);
    expect(needed).toContain('libc.so.6');
    expect(glibc).toMatch(/^2\.\d+/);
    expect(() => read(new URL(import.meta.url).pathname)).toThrow(/is not a 64-bit ELF file/);
  });

  it('refuses an addon that depends on libraries of the system', () => {
    const addon = new URL('../../build/Release/onehead.node', import.meta.url).pathname;
    expect(faults(addon, process.arch).join(' ')).toMatch(/It needs libdnnl/);
    expect(faults(addon, 's390x').join(' ')).toMatch(new RegExp(`It is for ${process.arch}, not for s390x`));
  });
});

it('npm’s page has absolute links: to the repository if it is named, else to the package’s files', () => {
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
