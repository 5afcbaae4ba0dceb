/** What is read from ffmpeg's log. */
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { FfmpegLog } from '../../lib/audio/ffmpeg-log.js';

const input = (metadata: number) => [
  "[info] Input #0, wv, from 'pipe:0':",
  '[info]   Metadata:',
  ...Array.from({ length: metadata }, (_, i) => `[info]     comment${i}   : Stream mapping:`),
  '[info]   Duration: N/A, bitrate: N/A',
  '[info]   Stream #0:0: Audio: wavpack, 44100 Hz, mono, s16p',
];
const mapping = ['[info] Stream mapping:', '[info]   Stream #0:0 -> #0:0 (wavpack (native) -> pcm_f32le (native))'];
const trouble = '[wv @ 0x55d0c0ffee00] [error] Block size is 123456789, which is invalid';

async function lossOf(...lines: string[]): Promise<string | null> {
  const stderr = Readable.from(lines.map((line) => `${line}\n`));
  const log = new FfmpegLog(stderr);
  await new Promise((resolve) => stderr.once('close', resolve));
  await log.described;
  return log.loss(7, null, Number.POSITIVE_INFINITY);
}

it.each([0, 10, 20_000])(
  'errors of the container count once the stream is chosen, after %d lines of metadata',
  async (n) => {
    expect(await lossOf(...input(n), ...mapping)).toBeNull();
    expect(await lossOf(...input(n), ...mapping, trouble)).toContain('Block size is 123456789');
    // While the input is probed, demuxers complain about much that they then read.
    expect(await lossOf(...input(n), trouble, ...mapping)).toBeNull();
  },
);
