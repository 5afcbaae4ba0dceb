/** NIST SPHERE, a format of speech corpora, often with the extension .wav. */
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { detectFormat, headDuration } from '../../lib/audio/format.js';
import { folder, readAll } from './support.js';

/** The header of such a file, padded to its 1,024 bytes. */
function sphere(fields: Record<string, string | number>, sound: Uint8Array): Buffer {
  const lines = Object.entries(fields).map(([name, value]) =>
    typeof value === 'number' ? `${name} -i ${value}` : `${name} -s${value.length} ${value}`,
  );
  const header = `NIST_1A\n   1024\n${lines.join('\n')}\nend_head\n`;
  return Buffer.concat([Buffer.from(header.padEnd(1024)), sound]);
}

const wav = readFileSync(`${folder}tone.wav`);
const sound = wav.subarray(wav.indexOf('data') + 8);
const rate = wav.readUInt32LE(24);
const channels = wav.readUInt16LE(22);
const fields = { channel_count: channels, sample_rate: rate, sample_n_bytes: 2, sample_byte_format: '01' };
const count = sound.length / 2 / channels;

it('has the same samples as a WAV file', async () => {
  const expected = (await readAll(wav)).samples;
  const file = sphere({ ...fields, sample_count: count, sample_coding: 'pcm' }, sound);
  expect((await readAll(file)).samples).toEqual(expected);
  expect((await readAll(Readable.from([file.subarray(0, 700), file.subarray(700)]))).samples).toEqual(expected);
  const swapped = sphere({ ...fields, sample_count: count, sample_byte_format: '10' }, Buffer.from(sound).swap16());
  expect((await readAll(swapped)).samples).toEqual(expected);
  expect(headDuration(file, null)).toBeCloseTo(count / rate, 6);
});

it('is decoded from G.711 samples, with and without a stated length', async () => {
  const mulaw = readFileSync(`${folder}mulaw-8k.wav`);
  const expected = (await readAll(mulaw)).samples;
  const body = mulaw.subarray(mulaw.indexOf('data') + 8);
  const phone = { channel_count: 1, sample_rate: 8000, sample_n_bytes: 1, sample_coding: 'ulaw' };
  expect((await readAll(sphere(phone, body))).samples.subarray(0, expected.length)).toEqual(expected);
});

it('is named in the error if its coding is unknown, or its header is damaged', async () => {
  const packed = sphere({ ...fields, sample_coding: 'pcm,embedded-shorten-v2.00' }, sound);
  for (const file of [packed, sphere({ channel_count: 1 }, sound), packed.subarray(0, 900)]) {
    expect(detectFormat(file.subarray(0, 4096))).toBe(null);
    await expect(readAll(file, { ffmpeg: false })).rejects.toMatchObject({
      code: 'AUDIO_INVALID',
      message: expect.stringMatching(/NIST SPHERE.*convert it/),
    });
  }
});
