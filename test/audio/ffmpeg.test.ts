import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasFfmpeg, readAll } from './support.js';

/** Formats that only ffmpeg can read, and the arguments that write them. */
const formats: Record<string, string[]> = {
  ...{ aiff: [], au: [], caf: [], w64: [], voc: [], tta: [], asf: [], ac3: [], avi: ['-c:a', 'mp2'], flv: [] },
  ...{ mpegts: ['-c:a', 'mp2'], rm: [], matroska: ['-c:a', 'ac3'] },
};
const rates: Record<string, string> = { flv: '22050', ac3: '32000', rm: '32000', matroska: '32000' };
const names = Object.keys(formats);

describe.skipIf(!hasFfmpeg)('what ffmpeg reads', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-ffmpeg-'));
  const file = (name: string) => join(folder, name);
  beforeAll(() => {
    for (const [format, args] of Object.entries(formats)) {
      const tone = ['-f', 'lavfi', '-i', `sine=440:d=3:r=${rates[format] ?? 16000}`];
      const { status, stderr } = spawnSync('ffmpeg', ['-v', 'error', ...tone, ...args, '-f', format, file(format)]);
      if (status !== 0) throw new Error(`${format}: ${stderr}`);
    }
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** The first bytes of a recording, as a file and as bytes. */
  const beginnings = (format: string, count: number) => {
    const bytes = readFileSync(file(format)).subarray(0, count);
    const path = file(`${count} of ${format}`);
    writeFileSync(path, bytes);
    return [path, bytes];
  };

  it.each(names)('gives no warning for a complete %s recording', async (format) => {
    for (const input of beginnings(format, 1e9)) {
      const { samples, warnings, incomplete } = await readAll(input);
      expect(Math.abs(samples.length / 16000 - 3)).toBeLessThan(0.2);
      expect({ warnings, incomplete }).toEqual({ warnings: [], incomplete: false });
    }
  });

  it.each(names)('warns that a %s recording is truncated', async (format) => {
    const { length } = readFileSync(file(format));
    for (const input of beginnings(format, Math.floor(0.6 * length) | 1)) {
      const { samples, warnings, incomplete } = await readAll(input);
      expect(samples.length).toBeGreaterThan(8000);
      expect({ warnings, incomplete }).toEqual({ warnings: [expect.any(String)], incomplete: true });
    }
  });

  it('never decodes the first bytes of a recording to silence', async () => {
    const read = async (format: string, count: number) => {
      const result = await readAll(readFileSync(file(format)).subarray(0, count)).catch((error: unknown) => error);
      if (result instanceof Error) expect(result, format).toMatchObject({ code: 'AUDIO_INVALID' });
      else expect(result, format).toMatchObject({ incomplete: true, warnings: [expect.any(String)] });
    };
    for (const count of [40, 100]) await Promise.all(names.map((format) => read(format, count)));
  });

  it('refuses a recording without samples', async () => {
    for (const input of beginnings('au', 32)) {
      await expect(readAll(input)).rejects.toMatchObject({
        code: 'AUDIO_INVALID',
        message: expect.stringMatching(/\(AU\) contains no audio; record or export it again\.$/),
      });
    }
  });
});
