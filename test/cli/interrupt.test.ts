/** Ctrl-C, and readers of the output that stop early. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { finished, sample, start, temporaryFolder } from './command.js';

/** Endless quiet noise, as from a recorder: 16 kHz, 16 bits, one channel. */
function wavHead(): Buffer {
  const head = Buffer.alloc(44);
  head.write('RIFF\xff\xff\xff\xffWAVEfmt ', 'latin1');
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(16000, 24);
  head.writeUInt32LE(32000, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data\xff\xff\xff\xff', 36, 'latin1');
  return head;
}

/** Writes seconds of audio. Resolves when all was read, except for the pipe's buffer. */
async function feed(child: ChildProcessWithoutNullStreams, seconds: number): Promise<void> {
  const second = Buffer.from(Int16Array.from({ length: 16000 }, (_, i) => ((i * 7919) % 61) - 30).buffer);
  for (let i = 0; i < seconds; ++i) {
    await new Promise<void>((resolve) => {
      child.stdin.write(second, () => resolve());
    });
  }
}

describe('an interrupt', () => {
  it('ends waiting for input with status 130', async () => {
    const child = start(['transcribe', '-']);
    const result = finished(child);
    child.stdin.write(wavHead());
    await feed(child, 20);
    child.kill('SIGINT');
    expect(await result).toEqual({ status: 130, stdout: '', stderr: '' });
  });

  it('ends a transcription with status 130, and writes nothing', async () => {
    const folder = await temporaryFolder();
    const child = start(['transcribe', '-', '--output-dir', join(folder, 'out')]);
    const result = finished(child);
    child.stdin.write(wavHead());
    // More than the look-ahead, so that some windows are done and others wait.
    await feed(child, 660);
    child.kill('SIGINT');
    expect(await result).toEqual({ status: 130, stdout: '', stderr: '' });
    expect(await readdir(join(folder, 'out'))).toEqual([]);
  });
});

describe('a reader that stops early', () => {
  it('is not an error', async () => {
    const child = start(['transcribe', sample, sample]);
    child.stdout.destroy();
    child.stdin.end();
    const { status, stderr } = await finished(child);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it('of the help is not an error', async () => {
    const child = start(['--help']);
    child.stdout.destroy();
    const { status, stderr } = await finished(child);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});

it('endless standard input without audio is refused', async () => {
  const child = start(['transcribe', '-']);
  const result = finished(child);
  const pump = () => child.stdin.write('y\n'.repeat(32768), (error) => error ?? pump());
  pump();
  const { status, stderr } = await result;
  expect(status).toBe(1);
  expect(stderr).toContain('does not look like audio');
});
