/** The spool returns the uploaded bytes, however they arrive and wherever they are stored. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Spool } from '../../lib/server/transcription/spool.js';

const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3);

async function read(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}

describe.each([0, 1, 100_000, 65_536, 300_000, 1e9])('a spool with %i bytes of memory', (memory) => {
  it.each([1, 999, 65_536, 300_000])('provides what was written in chunks of %i to each reader', async (size) => {
    const some = bytes.subarray(0, size === 1 ? 3000 : bytes.length);
    const spool = new Spool({ memory, maxBytes: bytes.length });
    const early = read(spool.bytes());
    for (let at = 0; at < some.length; at += size) {
      await spool.write(some.slice(at, at + size));
      if (at === size * 2) await new Promise((resolve) => setImmediate(resolve));
    }
    const late = read(spool.bytes());
    spool.end();
    expect(spool.size).toBe(some.length);
    for (const one of [await early, await late, await read(spool.bytes())]) expect(one.equals(some)).toBe(true);
    const input = spool.input();
    if (Buffer.isBuffer(input)) expect(input.equals(some)).toBe(true);
    else {
      const blob = input as Blob;
      expect(Buffer.from(await blob.arrayBuffer()).equals(some)).toBe(true);
      const from = 70_000 % some.length;
      expect(Buffer.from(await blob.slice(from, 200_000).arrayBuffer()).equals(some.subarray(from, 200_000))).toBe(
        true,
      );
    }
    await spool.close();
  });

  it('refuses too many bytes, and passes the error to readers', async () => {
    const spool = new Spool({ memory, maxBytes: 10 });
    await spool.write(bytes.slice(0, 10));
    await expect(spool.write(bytes.slice(0, 1))).rejects.toMatchObject({ status: 413 });
    const reading = read(spool.bytes());
    await new Promise((resolve) => setTimeout(resolve, 10));
    spool.fail(new Error('gone'));
    await expect(reading).rejects.toThrow('gone');
    await spool.close();
  });
});

describe('a spool that is closed while its upload arrives', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-spool-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Open files of the folder, which are unlinked already. */
  const openFiles = () =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder) ? [fd] : [];
      } catch {
        return []; // that of the listing itself
      }
    });

  it.each([0, 1, 2, 3, 10])('keeps no file open: %i turns of the event loop after it began', async (turns) => {
    for (const reads of [false, true]) {
      const spool = new Spool({ memory: 1000, maxBytes: bytes.length, folder });
      const reading = reads ? read(spool.bytes()).catch((error: unknown) => error) : null;
      const writing = (async () => {
        for (let at = 0; at < bytes.length; at += 10_000) await spool.write(bytes.slice(at, at + 10_000));
      })();
      for (let i = 0; i < turns; ++i) await new Promise((resolve) => setImmediate(resolve));
      const closing = spool.close();
      // What arrives later is read to the end of the request, and counted.
      await writing;
      await closing;
      if (reading) expect(await reading).toMatchObject({ status: 499 });
      expect(spool.size).toBe(bytes.length);
      expect(openFiles()).toEqual([]);
      expect(readdirSync(folder)).toEqual([]);
    }
  });
});
