/** `require('onehead')`: in Node.js, together with `import`, in a sandbox like Jest's, and in a bundle. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

describe('a bundle', () => {
  const programs = {
    cjs: `const { OneheadError, Whisper } = require('onehead');\n(async () => {${body}})();`,
    esm: `import { OneheadError, Whisper } from 'onehead';\n${body}`,
  };
  it.each(['cjs', 'esm'] as const)(
    'of esbuild in the form %s finds the installed package’s addon, model and threads',
    async (format) => {
      const [source, outfile] = [
        join(folder, `program.${format}.js`),
        join(folder, `bundle.${format === 'cjs' ? 'cjs' : 'mjs'}`),
      ];
      writeFileSync(source, programs[format]);
      await build({
        ...{
          entryPoints: [source],
          outfile,
          bundle: true,
          format,
          platform: 'node',
          target: 'node20',
          logLevel: 'silent',
        },
        // audio-decode refers to this decoder, which is not published.
        external: ['@audio/decode-ape'],
        // As esbuild recommends for packages that use require.
        ...(format === 'esm' && {
          banner: {
            js: "import { createRequire as forBundle } from 'node:module'; const require = forBundle(import.meta.url);",
          },
        }),
      });
      expect((await run(process.execPath, [outfile], { cwd: folder })).stdout).toMatch(expected);
    },
  );
});
