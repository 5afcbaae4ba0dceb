/** Live streams of the bundled model. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Resampler } from '../../lib/audio/resample.js';
import { type EngineEvent, engineChannel } from '../../lib/engine/figures.js';
import { OneheadError } from '../../lib/errors.js';
import type { LiveTranscription } from '../../lib/whisper/live/live.js';
import type { LiveOptions } from '../../lib/whisper/live/options.js';
import type { Final, LiveEvent } from '../../lib/whisper/live/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { samplesOf } from '../audio/support.js';

let whisper: Whisper;
let samples: Float32Array;
beforeAll(async () => {
  whisper = await Whisper.load(undefined, { device: 'cpu', dtype: 'float32' });
  samples = await samplesOf('../../../models/micro/sample.flac');
});
afterAll(() => whisper?.dispose());

async function read(live: LiveTranscription): Promise<LiveEvent[]> {
  const events: LiveEvent[] = [];
  for await (const event of live) events.push(event);
  return events;
}

const finals = (events: readonly LiveEvent[]) => events.filter((one): one is Final => one.type === 'final');
const textOf = (events: readonly LiveEvent[]) =>
  finals(events)
    .map(({ text }) => text)
    .join('');
const sentences =
  /^ We will return on Thursday\. Add honey and chicken to the shopping list\. Move left forty five (meters|feet)\.$/;

/** Pushes a fifth of a second at a time, after the audio before was processed. */
async function speak(live: LiveTranscription, spoken: Float32Array = samples, piece = 3200): Promise<void> {
  for (let at = 0; at < spoken.length; at += piece) {
    live.push(spoken.subarray(at, at + piece));
    await live.drained();
  }
  await live.close();
}

/** Checks that hold for every stream. */
function checkOrder(events: readonly LiveEvent[]): void {
  const texts = new Map<number, string>();
  const ended = new Set<number>();
  for (const event of events) {
    if (event.type === 'lost') continue;
    expect(ended.has(event.turn)).toBe(false);
    if (event.type === 'confirmed') texts.set(event.turn, (texts.get(event.turn) ?? '') + event.text);
    if (event.type === 'final') {
      ended.add(event.turn);
      expect(event.text).toBe(texts.get(event.turn) ?? '');
      expect(event.words.map(({ word }) => word).join('')).toBe(event.text);
      event.words.forEach(({ start, end }, i) => {
        // A turn's words are within it, and not within later turns.
        expect(end).toBeLessThan(event.end + 0.5);
        expect(end).toBeGreaterThanOrEqual(start);
        expect(start).toBeGreaterThanOrEqual(event.words[i - 1]?.start ?? 0);
      });
    }
  }
}

describe('a live stream', () => {
  it('reports turns as they are spoken: hypotheses, confirmed text, and the whole text', async () => {
    const live = await whisper.live();
    const reading = read(live);
    await speak(live);
    const events = await reading;
    checkOrder(events);
    expect(textOf(events)).toMatch(sentences);
    const turns = finals(events);
    expect(turns).toHaveLength(3);
    expect(turns.map(({ language }) => language)).toEqual(['en', 'en', 'en']);
    expect(turns[1].start).toBeGreaterThan(turns[0].end);
    const types = events.map(({ type }) => type);
    expect(types[0]).toBe('speech-started');
    // Text arrives before the turn has ended, and before it is confirmed.
    expect(types.indexOf('partial')).toBeLessThan(types.indexOf('confirmed'));
    expect(types.indexOf('confirmed')).toBeLessThan(types.indexOf('speech-stopped'));
    expect(whisper.figures()).toMatchObject({ requests: 0, rows: { used: 0 }, positions: { used: 0 } });
  });

  it.each<LiveOptions>([
    { policy: 'agreement' },
    { policy: 'both', threshold: 0.3 },
    { threshold: 1, interval: 1, partials: false },
    { window: 4, language: 'en', task: 'transcribe' },
    { vad: { minSilence: 0.3, padding: 0.2 } },
  ])('gives the same text with %o', async (options) => {
    const live = await whisper.live(options);
    const reading = read(live);
    await speak(live);
    const events = await reading;
    checkOrder(events);
    expect(textOf(events)).toMatch(sentences);
    if (options.partials === false) expect(events.some(({ type }) => type === 'partial')).toBe(false);
  });

  it('accepts 16-bit samples at another rate', async () => {
    const resampler = new Resampler(16_000, 24_000);
    const resampled = [...resampler.push(samples), ...resampler.finish()];
    const spoken = Int16Array.from(resampled, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32_767));
    const live = await whisper.live({ sampleRate: 24_000 });
    const reading = read(live);
    for (let at = 0; at < spoken.length; at += 4800) {
      live.push(spoken.subarray(at, at + 4800));
      await live.drained();
    }
    await live.close();
    expect(textOf(await reading)).toMatch(sentences);
  });

  it('is one turn until it is flushed, without a voice detector', async () => {
    const live = await whisper.live({ vad: false });
    const reading = read(live);
    const middle = Math.round(2.2 * 16_000);
    live.push(samples.subarray(0, middle));
    await live.flush();
    live.push(samples.subarray(middle));
    await live.close();
    const events = await reading;
    checkOrder(events);
    const turns = finals(events);
    expect(turns.map(({ turn }) => turn)).toEqual([0, 1]);
    expect(turns[0]).toMatchObject({ text: ' We will return on Thursday.', start: 0, end: 2.2 });
    expect(turns[1].text.trim()).toMatch(/^Add honey and .* meters\.$/);
    expect(turns[1].words[0].start).toBeGreaterThan(2.1);
    expect(events.some(({ type }) => type === 'speech-started')).toBe(false);
  });

  it.each([false, true])('discards what is cleared between two flushes, with turn detection: %s', async (vad) => {
    const live = await whisper.live({ vad, sampleRate: 24_000, partials: false });
    const reading = read(live);
    const resampler = new Resampler(16_000, 24_000);
    const spoken = Float32Array.from([...resampler.push(samples), ...resampler.finish()]);
    const second = (begin: number, end: number) => spoken.subarray(begin * 24_000, end * 24_000);
    live.push(second(0, 2.2));
    const first = live.flush();
    live.push(second(2.2, 5));
    live.clear();
    live.push(second(5, 8));
    live.flush().catch(() => {});
    live.push(second(2.2, 5));
    // Detection is under way.
    await Promise.resolve();
    await Promise.resolve();
    live.clear();
    live.push(second(0, 2.2));
    const last = live.flush();
    await Promise.all([first, last]);
    await live.close();
    const events = await reading;
    checkOrder(events);
    const texts = finals(events).map(({ text }) => text.trim());
    expect(texts).toEqual([
      'We will return on Thursday.',
      expect.stringMatching(/^Move left forty five/),
      'We will return on Thursday.',
    ]);
    expect(finals(events)[2].start).toBeGreaterThan(10);
  });

  it('gives no text for silence, and ends at once', async () => {
    const live = await whisper.live();
    const reading = read(live);
    live.push(new Float32Array(32_000));
    await live.flush();
    await live.close();
    expect(await reading).toEqual([]);
  });

  it('continues as long as somebody speaks: the window moves on, and little audio is kept', async () => {
    const live = await whisper.live({ vad: false, window: 6 });
    const reading = read(live);
    const speech = samples.subarray(0, Math.round(4.9 * 16_000));
    for (let round = 0; round < 5; ++round) {
      for (let at = 0; at < speech.length; at += 8000) {
        live.push(speech.subarray(at, at + 8000));
        await live.drained();
        expect(live.held).toBeLessThan(16);
      }
    }
    await live.close();
    const events = await reading;
    checkOrder(events);
    const [turn] = finals(events);
    expect(turn.text.match(/Thursday/g)).toHaveLength(5);
    expect(turn.text.match(/shopping list/g)).toHaveLength(5);
    expect(turn.words.at(-1)!.end).toBeGreaterThan(20);
  });

  it('drops the oldest audio if it arrives much too fast, with an event', async () => {
    const live = await whisper.live({ vad: false, maximumLag: 30 });
    const reading = read(live);
    live.push(new Float32Array(31 * 16_000));
    live.push(samples);
    await live.close();
    const events = await reading;
    const [lost] = events.filter(({ type }) => type === 'lost') as { start: number; end: number }[];
    expect(lost.start).toBe(0);
    expect(lost.end).toBeGreaterThan(15);
    expect(textOf(events)).toContain('shopping list');
  });

  it('drops audio while turns are detected, with an event for all of it', async () => {
    const live = await whisper.live({ maximumLag: 30 });
    const reading = read(live);
    live.push(samples);
    const flushed = live.flush();
    await Promise.resolve();
    await Promise.resolve();
    // Detection is under way.
    live.push(new Float32Array(60 * 16_000));
    live.push(samples);
    await Promise.all([flushed, live.close()]);
    const events = await reading;
    const lost = events.filter(({ type }) => type === 'lost') as { start: number; end: number }[];
    expect(lost).toHaveLength(1);
    expect(lost[0].start).toBeLessThan(samples.length / 16_000);
    expect(textOf(events)).toContain('shopping list');
  });

  it('reports its lag', async () => {
    const live = await whisper.live();
    const reading = read(live);
    live.push(samples);
    expect(live.lag).toBeCloseTo(samples.length / 16_000, 2);
    await live.drained();
    expect(live.lag).toBeLessThanOrEqual(0.6);
    await live.close();
    await reading;
  });
});

describe('the end of a live stream', () => {
  it('is its signal’s reason', async () => {
    const stop = new AbortController();
    const live = await whisper.live({ signal: stop.signal });
    const reading = read(live);
    live.push(samples);
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(reading).rejects.toBe(reason);
    await expect(live.close()).resolves.toBeUndefined();
    expect(() => live.push(samples)).toThrow('enough');
    expect(whisper.figures()).toMatchObject({ requests: 0, rows: { used: 0 }, positions: { used: 0 } });
  });

  it('comes when the consumer stops reading', async () => {
    const live = await whisper.live();
    live.push(samples);
    for await (const event of live) if (event.type === 'partial') break;
    expect(() => live.push(samples)).toThrow(/is closed/);
    expect(whisper.figures()).toMatchObject({ requests: 0, rows: { used: 0 }, positions: { used: 0 } });
  });

  it('comes when its model is disposed', async () => {
    const own = await Whisper.load(undefined, { device: 'cpu' });
    const live = await own.live();
    const reading = read(live);
    live.push(samples);
    own.dispose();
    await expect(reading).rejects.toMatchObject({ code: 'DISPOSED' });
    await expect(own.live()).rejects.toMatchObject({ code: 'DISPOSED' });
  });

  it('does not come with a failed turn: an event reports it, and the next turn is transcribed', async () => {
    const decode = whisper.model.decodeWindow.bind(whisper.model);
    const spy = vi.spyOn(whisper.model, 'decodeWindow').mockImplementation(decode);
    spy.mockRejectedValueOnce(new OneheadError('MODEL_INVALID', 'The numbers overflow.'));
    const live = await whisper.live();
    const reading = read(live);
    await speak(live);
    spy.mockRestore();
    const events = await reading;
    expect(events.find(({ type }) => type === 'failed')).toMatchObject({
      turn: 0,
      text: '',
      error: { code: 'MODEL_INVALID' },
    });
    expect(finals(events).map(({ turn }) => turn)).toEqual([1, 2]);
  });

  it('refuses invalid arguments', async () => {
    await expect(whisper.live({ threshold: -1 })).rejects.toThrow('Expected threshold to be a number from 0 to 10');
    await expect(whisper.live({ polcy: 'both' } as LiveOptions)).rejects.toThrow("There is no option 'polcy' of live");
    await expect(whisper.live({ language: 'klingon' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    await expect(whisper.live({ vad: { threshold: 2 } })).rejects.toThrow('Expected vad.threshold');
    expect(whisper.figures().requests).toBe(0);
    const live = await whisper.live();
    expect(() => live.push([0, 1] as never)).toThrow('Expected samples to be a Float32Array or an Int16Array');
    expect(() => live.push(Float32Array.of(Number.NaN))).toThrow(
      'Expected samples[0] to be a number from -1 to 1 but received NaN',
    );
    const transferred = new Int16Array(160);
    structuredClone(transferred.buffer, { transfer: [transferred.buffer] });
    expect(() => live.push(transferred)).toThrow('its buffer was transferred or shrunk, so pass a copy.');
    await live.close();
    await expect(live.flush()).rejects.toThrow(/is closed/);
    await expect(live.drained()).rejects.toThrow(/is closed/);
  });
});

it('is served in its class, which is live by default', async () => {
  const classes = new Set<string>();
  const listen = (message: unknown) => {
    const event = message as EngineEvent;
    if (event.event === 'window') classes.add(event.priority);
  };
  subscribe(engineChannel, listen);
  try {
    for (const [priority, expected] of [
      [undefined, 'live'],
      ['batch', 'batch'],
    ] as const) {
      classes.clear();
      const live = await whisper.live({ priority });
      const reading = read(live);
      await speak(live, samples.subarray(0, 32_000));
      await reading;
      expect([...classes]).toEqual([expected]);
    }
  } finally {
    unsubscribe(engineChannel, listen);
  }
});

it('shares the rows with all other requests', async () => {
  const lives = await Promise.all([
    whisper.live(),
    whisper.live({ policy: 'agreement' }),
    whisper.live({ vad: false }),
  ]);
  const reading = lives.map(read);
  const [all, whole] = await Promise.all([
    Promise.all(lives.map((live) => speak(live))).then(() => Promise.all(reading)),
    whisper.transcribe({ samples, sampleRate: 16_000 }, { language: 'en' }),
  ]);
  expect(whole.text).toMatch(sentences);
  expect(textOf(all[0])).toMatch(sentences);
  expect(textOf(all[1])).toMatch(sentences);
  expect(textOf(all[2])).toContain('shopping list');
});
