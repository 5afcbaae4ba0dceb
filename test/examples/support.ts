/** Runs examples in an empty folder. The bundled model is in the hub's cache under the name of a hub model. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, sample } from '../cli/command.js';

/** The name that the examples load. */
const hubName = 'openai/whisper-small';

export interface Place {
  folder: string;
  env: NodeJS.ProcessEnv;
  remove(): void;
}

/** A folder with talk.mp3 and call.wav, and a cache with the bundled model. */
export function makePlace(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-examples-'));
  for (const name of ['talk.mp3', 'call.wav']) copyFileSync(sample, join(folder, name));
  const cache = join(folder, 'hub');
  const repository = join(cache, `models--${hubName.replace('/', '--')}`);
  const commit = '0'.repeat(40);
  const snapshot = join(repository, 'snapshots', commit);
  for (const path of [snapshot, join(repository, 'refs')]) mkdirSync(path, { recursive: true });
  for (const name of readdirSync(join(root, 'models/micro'))) {
    symlinkSync(join(root, 'models/micro', name), join(snapshot, name));
  }
  writeFileSync(join(repository, 'refs', 'main'), commit);
  const env = { ...process.env, HF_HUB_CACHE: cache, HF_HUB_OFFLINE: '1', PORT: '0' };
  return { folder, env, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export const example = (name: string): string => join(root, 'examples', name);

/** The output and the status of a program. */
export async function ran(
  { folder, env }: Place,
  args: readonly string[],
  input: Uint8Array = new Uint8Array(),
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, args, { cwd: folder, env });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => {}); // the program may exit before it has read everything
  child.stdin.end(input);
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}
