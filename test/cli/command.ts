/** Runs the compiled command. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export const root = fileURLToPath(new URL('../../', import.meta.url));
export const sample = join(root, 'models/micro/sample.flac');
export const sampleLines = [
  'We will return on Thursday.',
  'Add honey and chicken to the shopping list.',
  'Move left forty five meters.',
];
export const sampleText = sampleLines.map((line) => `${line}\n`).join('');

export interface Result {
  /** Null if a signal ended it. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface Settings {
  input?: Uint8Array;
  env?: Record<string, string>;
  /** The package's folder. */
  root?: string;
}

export function start(args: readonly string[], settings: Settings = {}): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [join(settings.root ?? root, 'dist/cli/main.js'), ...args], {
    env: { ...process.env, ...settings.env },
  });
}

/** The output and status of a process. */
export function finished(child: ChildProcessWithoutNullStreams): Promise<Result> {
  const result: Result = { status: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    result.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    result.stderr += text;
  });
  child.stdin.on('error', () => {}); // the command may exit before it has read everything
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ ...result, status }));
  });
}

export function onehead(args: readonly string[], settings: Settings = {}): Promise<Result> {
  const child = start(args, settings);
  const result = finished(child);
  child.stdin.end(settings.input);
  return result;
}

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-cli-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A single sentence from the command, without a stack trace. */
export const sentence = /^onehead: [^\n]+\.\n$/;
