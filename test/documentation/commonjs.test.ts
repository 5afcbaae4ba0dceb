/** `require('onehead')`: in Node.js, together with `import`, in a sandbox like Jest's, and in a bundle. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, describe, expect, it } from 'vitest';
import { root, sample } from '../cli/command.js';

const run = promisify(execFile);
const sentence = 'We will return on Thursday.';

const folder = mkdtempSync(join(tmpdir(), 'onehead-commonjs-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, 'node_modules'));
symlinkSync(root, join(folder, 'node_modules/onehead'));

/** The output of a program in an empty project. */
async function output(name: string, code: string, options: string[] = []): Promise<string> {
  writeFileSync(join(folder, name), code);
  return (await run(process.execPath, [...options, join(folder, name)], { cwd: folder })).stdout;
}

const body = `
  const whisper = await Whisper.load();
  console.log((await whisper.transcribe(${JSON.stringify(sample)})).text.trim());
  console.log((await whisper.transcribe(${JSON.stringify(join(root, 'test/fixtures/audio/tone.mp3'))}, { vad: { detector: 'webrtc' } })).duration);
  whisper.dispose();
  await Whisper.load('/nowhere/at/all').catch((error) => console.log(error instanceof OneheadError, error.code));
`;
const expected = new RegExp(`^${sentence}.*\\n1\\.5\\ntrue MODEL_NOT_FOUND\\n$`);

describe('require', () => {
  it('transcribes, and its entries share their classes', async () => {
    const code = `const { OneheadError, Whisper } = require('onehead');
const entries = ['batch', 'profiler', 'server'].map((name) => Object.keys(require('onehead/' + name)).length > 3);
if (!entries.every(Boolean)) throw new Error('an entry is empty');
(async () => {${body}})();`;
    expect(await output('plain.cjs', code)).toMatch(expected);
  });

  it('returns the same names as import', async () => {
    const code = `const names = (module) => Object.keys(module).filter((name) => !['default', 'module.exports'].includes(name)).sort().join();
const file = (name) => require('node:path').join(${JSON.stringify(root)}, 'dist', name);
(async () => {
  for (const name of ['', 'batch/', 'profiler/', 'server/']) {
    console.log(names(require(file('commonjs/' + name + 'index.cjs'))) === names(await import(file(name + 'index.js'))));
  }
})();`;
    expect(await output('names.cjs', code)).toBe('true\n'.repeat(4));
  });

  it('works in a separate context without import, as in Jest', async () => {
    const entry = join(root, 'dist/commonjs/index.cjs');
    // Like jest-runtime: a separate module registry, and vm.Script without a callback for import().
    const code = `const { createRequire, builtinModules } = require('node:module');
const { readFileSync } = require('node:fs');
const { dirname } = require('node:path');
const vm = require('node:vm');
const context = vm.createContext({ console, process, Buffer, URL, AbortController, AbortSignal, performance, setTimeout, clearTimeout,
  setImmediate, queueMicrotask, structuredClone, TextDecoder, TextEncoder, Blob, File, Response, Request, ReadableStream, DOMException,
  MessageChannel, Event, EventTarget, Uint8Array, ArrayBuffer, SharedArrayBuffer, WebAssembly });
const registry = new Map();
function load(file) {
  if (registry.has(file)) return registry.get(file).exports;
  const module = { exports: {} };
  registry.set(file, module);
  const own = createRequire(file);
  const require = (name) => {
    const found = own.resolve(name);
    if (builtinModules.includes(found.replace('node:', '')) || found.endsWith('.node')) return own(found);
    return load(found);
  };
  require.resolve = own.resolve;
  const text = readFileSync(file, 'utf8');
  if (file.endsWith('.json')) module.exports = JSON.parse(text);
  else {
    const wrapper = '(function (exports, require, module, __filename, __dirname) {' + text + '\\n})';
    new vm.Script(wrapper, { filename: file }).runInContext(context)(module.exports, require, module, file, dirname(file));
  }
  return module.exports;
}
const { OneheadError, Whisper } = load(${JSON.stringify(entry)});
(async () => {${body}})();`;
    expect(await output('sandbox.cjs', code, ['--no-warnings'])).toMatch(expected);
  });
});

describe('a bundle of esbuild', () => {
  const programs = {
    cjs: `const { OneheadError, Whisper } = require('onehead');\n(async () => {${body}})();`,
    esm: `import { OneheadError, Whisper } from 'onehead';\n${body}`,
  };
  const formats = ['cjs', 'esm'] as const;

  /** Bundles a program in a project's folder. Returns the bundle's file, which lies in `target`. */
  async function bundle(format: 'cjs' | 'esm', project: string, target = project): Promise<string> {
    const source = join(project, `program.${format}.js`);
    const outfile = join(target, `bundle.${format === 'cjs' ? 'cjs' : 'mjs'}`);
    writeFileSync(source, programs[format]);
    await build({
      ...{ entryPoints: [source], outfile, bundle: true, format },
      ...{ platform: 'node', target: 'node20', logLevel: 'silent', preserveSymlinks: project !== folder },
      // As esbuild recommends for packages that use require.
      ...(format === 'esm' && {
        banner: {
          js: "import { createRequire as forBundle } from 'node:module'; const require = forBundle(import.meta.url);",
        },
      }),
    });
    return outfile;
  }

  /** A project with the package and its dependencies, but without the optional packages. */
  function plainProject(): string {
    const project = join(folder, 'plain');
    const modules = join(project, 'node_modules');
    mkdirSync(join(modules, 'onehead'), { recursive: true });
    for (const name of ['dist', 'models', 'package.json'])
      symlinkSync(join(root, name), join(modules, 'onehead', name));
    const installed = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { dev?: true; devOptional?: true; peer?: true }>;
    };
    for (const [path, { dev, devOptional, peer }] of Object.entries(installed.packages)) {
      if (!/^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) || dev || devOptional || peer) continue;
      mkdirSync(dirname(join(project, path)), { recursive: true });
      symlinkSync(join(root, path), join(project, path));
    }
    return project;
  }

  it.each(formats)('in the form %s finds the installed package’s addon, model and threads', async (format) => {
    const outfile = await bundle(format, folder);
    expect((await run(process.execPath, [outfile], { cwd: folder })).stdout).toMatch(expected);
  });

  it('is made without the optional packages, and names the package if that is not installed beside it', async () => {
    const project = plainProject();
    const elsewhere = mkdtempSync(join(tmpdir(), 'onehead-bundle-'));
    try {
      for (const format of formats) {
        expect((await run(process.execPath, [await bundle(format, project)], { cwd: project })).stdout).toMatch(
          expected,
        );
        const alone = await bundle(format, project, elsewhere);
        const { stderr } = (await run(process.execPath, [alone], { cwd: elsewhere }).catch((error) => error)) as {
          stderr: string;
        };
        expect(stderr).toContain(`The package onehead is not installed where the bundle ${alone} runs`);
      }
    } finally {
      rmSync(elsewhere, { recursive: true, force: true });
    }
  });
});
