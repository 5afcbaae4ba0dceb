/** Selected channels of a recording, and separate channels. */
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { apart, type ChannelPicker, mixed, splitChannels } from '../../lib/audio/channels.js';
import { type AudioInput, type AudioSource, type OpenOptions, openChannels } from '../../lib/audio/index.js';
import { amplitude, firstDifference, folder, joined, readAll, sine, wavOf } from './support.js';

const rate = 16000;
const tones = [440, 880, 1320];
/** A tone on each channel. */
const chord = (sampleRate = rate, count = tones.length) => ({
  samples: tones.slice(0, count).map((hertz) => sine(hertz, sampleRate)),
  sampleRate,
});
const wav = ({ samples, sampleRate }: ReturnType<typeof chord>) => wavOf(samples, sampleRate);
const frequencies = (samples: Float32Array) =>
  tones.filter((hertz) => amplitude(samples.subarray(1000, 15000), hertz) > 0.05);

describe('selected channels', () => {
  it.each<[OpenOptions['channels'], number[]]>([
    [undefined, tones],
    ['mix', tones],
    [[1], [880]],
    [
      [0, 2],
      [440, 1320],
    ],
    [[2, 2], [1320]],
  ])('%j', async (channels, expected) => {
    for (const input of [chord(), chord(48000), wav(chord()), wav(chord(8000))] as AudioInput[]) {
      const { samples } = await readAll(input, { channels });
      expect(frequencies(samples)).toEqual(expected);
      expect(amplitude(samples.subarray(1000, 15000), expected[0])).toBeCloseTo(1 / expected.length, 1);
    }
  });

  it.each<[unknown, string]>([
    ['both', "Expected channels to be 'mix', 'separate' or a list of numbers from 0 to 63 but received 'both'."],
    [[], 'but received an empty list.'],
    [7, 'but received 7.'],
    [[-1], 'a list of numbers from 0 to 63 but received [-1].'],
    [[0, 3, 4], 'numbers of channels that the given audio has, which are channels 0 to 2, but received [3, 4].'],
  ])('%j is refused', async (channels, message) => {
    const reading = readAll(chord(), { channels: channels as 'mix' });
    await expect(reading).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
  });

  it('are refused if a mono recording does not have them', async () => {
    await expect(readAll(`${folder}mono-8k.mp3`, { channels: [1] })).rejects.toThrow('which are channel 0 alone');
  });
});

/** The samples of each channel. */
async function separated(input: AudioInput, maxAhead = 60 * rate): Promise<Float32Array[]> {
  const channels = await splitChannels(await openChannels(input), maxAhead);
  return Promise.all(channels.map(all));
}

async function all(source: AudioSource): Promise<Float32Array> {
  const chunks: Float32Array[] = [];
  for await (const chunk of source.chunks()) chunks.push(chunk);
  return joined(chunks);
}

describe('separate channels', () => {
  it.each([8000, 16000, 44100])('contain the tone of each channel, at %i Hz', async (sampleRate) => {
    for (const input of [chord(sampleRate), wav(chord(sampleRate))]) {
      const parts = await separated(input);
      expect(parts.map(frequencies)).toEqual(tones.map((hertz) => [hertz]));
      for (const part of parts) expect(part.length).toBe(rate);
    }
  });

  it('equal each channel stored as a mono recording', async () => {
    const { samples, sampleRate } = chord(44100);
    const parts = await separated({ samples, sampleRate });
    for (const [channel, part] of parts.entries()) {
      const alone = await readAll({ samples: samples[channel], sampleRate });
      expect(firstDifference(part, alone.samples)).toBe(-1);
    }
  });

  /** A recording of many seconds, and the number of chunks read from it. */
  function long(seconds: number, channels = 2) {
    const state = { read: 0, closed: false };
    const source = {
      duration: seconds,
      warnings: [],
      incomplete: false,
      close: async () => {
        state.closed = true;
      },
      async *chunks() {
        for (; state.read < seconds; ) {
          ++state.read;
          yield Array.from({ length: channels }, (_, channel) => new Float32Array(rate).fill(channel));
        }
      },
    };
    return { source, state };
  }

  it('are read ahead of the slowest only within the limit', async () => {
    const { source, state } = long(600);
    const [fast, slow] = await splitChannels(source, 5 * rate);
    let picked = 0;
    const reading = (async () => {
      for await (const chunk of fast.chunks()) picked += chunk.length / rate;
    })();
    const slowly = slow.chunks()[Symbol.asyncIterator]();
    for (let i = 1; i <= 20; ++i) {
      await setTimeout(1);
      expect(state.read).toBeLessThanOrEqual(i + 5);
      expect((await slowly.next()).value[0]).toBe(1);
    }
    await setTimeout(1);
    expect(picked).toBe(state.read);
    // A closed channel no longer delays the others.
    await slow.close();
    await reading;
    expect(picked).toBe(600);
    expect(state.closed).toBe(true);
  });

  it('close the recording when the last one is closed, and all receive its errors', async () => {
    const { source, state } = long(10, 3);
    const [first, second, third] = await splitChannels(source, 5 * rate);
    await first.close();
    for await (const _ of second.chunks()) break;
    expect(state.closed).toBe(false);
    await third.close();
    expect(state).toEqual({ read: 1, closed: true });

    const failing = {
      ...long(10).source,
      async *chunks() {
        yield [new Float32Array(rate), new Float32Array(rate)];
        throw new Error('broken');
      },
    };
    const results = await Promise.allSettled((await splitChannels(failing, 5 * rate)).map(all));
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { message: 'broken' } });
  });

  it('have the number of channels of the recording', async () => {
    expect(await separated(wav(chord(rate, 2)))).toHaveLength(2);
    expect(await separated(`${folder}mono-8k.mp3`)).toHaveLength(1);
  });
});

describe('a recording whose number of channels changes', () => {
  const block = (value: number, count: number) =>
    Array.from({ length: count }, (_, channel) => new Float32Array(10).fill(value + channel));
  const picked = (pick: ChannelPicker, channels: Float32Array[]) =>
    [...pick.push({ channels, sampleRate: rate }, 0, 10), ...pick.finish()][0];

  it('has silence for missing channels, and warns about ignored ones', () => {
    const warned: [string, string][] = [];
    const pick = apart.pick('separate', 'a.ogg', (...warning) => warned.push(warning));
    expect(picked(pick, block(1, 2)).map(([value]) => value)).toEqual([1, 2]);
    expect(picked(pick, block(1, 1)).map(([value]) => value)).toEqual([1, 0]);
    expect(picked(pick, block(1, 3)).map(([value]) => value)).toEqual([1, 2]);
    expect(warned).toEqual([
      ['a.ogg has fewer channels later on; channels from number 1 on are silent there.', 'mended'],
      ['a.ogg has more channels later on; channels from number 2 on were ignored.', 'lost'],
    ]);
  });

  it('gives the selected channels that exist', () => {
    const warned: [string, string][] = [];
    const pick = mixed.pick([1, 2], 'a.ogg', (...warning) => warned.push(warning));
    expect(picked(pick, block(1, 3))[0][0]).toBe(2.5);
    expect(picked(pick, block(1, 2))[0][0]).toBe(2);
    expect(warned).toEqual([]);
    expect(picked(pick, block(1, 1))[0][0]).toBe(0);
    expect(warned).toEqual([['a.ogg has fewer channels later on; the selected ones end there.', 'lost']]);
  });
});
