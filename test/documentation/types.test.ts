/**
 * The package's types in different kinds of projects: strict, as ES modules and as CommonJS, with checked declarations.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { root } from '../cli/command.js';

const run = promisify(execFile);

const folder = mkdtempSync(join(tmpdir(), 'onehead-types-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
symlinkSync(root, join(folder, 'node_modules/onehead'));
for (const name of ['@types/node', 'undici-types', 'openai', 'fastify', 'ws', '@types/ws']) {
  symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
}

/** The context of fragments. */
const around: Record<string, (code: string) => string> = {
  serving: (code) =>
    code.includes('return')
      ? `import type { ServerResponse } from 'node:http';
import { OneheadError, type Whisper } from 'onehead';
export async function answer(whisper: Whisper, upload: Uint8Array, response: ServerResponse, signal: AbortSignal) {
${code}}`
      : code,
};

/** The examples of the documentation, each as a file. */
const blocks = ['errors', 'live', 'profiler', 'server', 'serving'].flatMap((page) =>
  [...readFileSync(join(root, `docs/${page}.md`), 'utf8').matchAll(/```[jt]s\n([\s\S]*?)```/g)].map(
    ([, code], index) => [`${page}-${index}.mts`, (around[page] ?? String)(code)] as const,
  ),
);
for (const [name, code] of blocks) writeFileSync(join(folder, name), code);
writeFileSync(
  join(folder, 'common.cts'),
  `import { type Transcription, Whisper } from 'onehead';
import onehead = require('onehead');
import { MemoryQueue } from 'onehead/batch';
import { profile } from 'onehead/profiler';
import { serve } from 'onehead/server';

export async function text(file: string): Promise<string> {
  const whisper = await Whisper.load(undefined, { device: 'cpu' });
  const result: Transcription = await whisper.transcribe(file, { beamSize: 5 });
  whisper.dispose();
  return onehead.formats.srt.write(result);
}
export const all = [MemoryQueue, profile, serve];
`,
);
writeFileSync(
  join(folder, 'wrong.mts'),
  `import { Whisper } from 'onehead';
const whisper = await Whisper.load();
// @ts-expect-error the option does not exist
await whisper.transcribe('talk.mp3', { beam_size: 5 });
`,
);
/** JavaScript is checked as far as possible without annotations. */
const javascript = readdirSync(join(root, 'examples')).filter((name) => /^(?!realtime).*\.[cm]js$/.test(name));
for (const name of javascript) cpSync(join(root, 'examples', name), join(folder, name));

async function checked(options: string[], files: string[]): Promise<string> {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const common = ['--noEmit', '--target', 'es2022', '--types', 'node', '--ignoreConfig'];
  const result = run(process.execPath, [tsc, ...common, ...options, ...files], { cwd: folder }).catch((error) => error);
  return (await result).stdout;
}

it.each([
  ['node16', ['--module', 'node16']],
  ['nodenext', ['--module', 'nodenext']],
  ['bundler', ['--module', 'esnext', '--moduleResolution', 'bundler']],
])('hold under strict and %s', async (kind, options) => {
  // A project for bundlers has no CommonJS files.
  const common = kind === 'bundler' ? [] : ['common.cts'];
  const files = [...blocks.map(([name]) => name), 'wrong.mts', ...common];
  expect(await checked(['--strict', ...options], files)).toBe('');
});

it('need no TypeScript newer than the README’s minimum', () => {
  const [, minimum] = /TypeScript (\d+\.\d+) or newer/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
  expect(minimum).toBe('5.4'); // that of NoInfer
  // Typed arrays and buffers have type arguments since 5.7. Older versions refuse them.
  const newer = /\b(?:(?:Int|Uint|Float|BigInt|BigUint)\d+(?:Clamped)?Array|Buffer|DataView)</;
  const files = readdirSync(join(root, 'dist'), { recursive: true, encoding: 'utf8' });
  const declarations = files.filter((file) => /\.d\.c?ts$/.test(file));
  expect(declarations.length).toBeGreaterThan(100);
  expect(declarations.filter((file) => newer.test(readFileSync(join(root, 'dist', file), 'utf8')))).toEqual([]);
});

it('hold for the examples in JavaScript', async () => {
  const options = [
    '--strict',
    '--allowJs',
    '--checkJs',
    '--noImplicitAny',
    'false',
    '--skipLibCheck',
    '--module',
    'nodenext',
  ];
  expect(await checked(options, javascript)).toBe('');
});
