/**
 * Live transcription of recordings on a simulated clock: audio comes as fast as it was spoken, and what is computed
 * takes the time that it really takes; nobody waits for what has not been spoken. So a recording is measured faster
 * than it lasts, and honestly.
 */
import { check } from '../options/options.js';
import type { WhisperModel } from '../whisper/decoding/whisper-model.js';
import { openTranscriber } from '../whisper/live/open.js';
import { type LiveOptions, liveOptions } from '../whisper/live/options.js';
import type { LiveEvent } from '../whisper/live/types.js';

/** Seconds of the pieces in which audio comes. */
const pieceSeconds = 0.1;

export interface TimedEvent {
  /** Seconds since the first sample was spoken. */
  at: number;
  event: LiveEvent;
}

/** Seconds of delay of one recording. */
export interface LiveLags {
  /** From when somebody begins to speak to the first text, sure or not; one a turn. */
  first: number[];
  /** From when a word ends, by its own times, to when it is confirmed. */
  words: number[];
  /** From when somebody stops speaking to the whole text; one a turn. */
  final: number[];
}

export interface LiveRun extends LiveLags {
  text: string;
  /** Seconds. */
  duration: number;
  computed: number;
  /** Hypotheses that were decoded, and tokens that were taken from the one before. */
  events: TimedEvent[];
}

/** Feeds samples at the model's rate to a live stream. */
export async function simulateLive(model: WhisperModel, samples: Float32Array, given: LiveOptions): Promise<LiveRun> {
  const { sampleRate } = model.checkpoint.preprocessor;
  const events: TimedEvent[] = [];
  let now = 0;
  let begun = 0;
  const { signal } = new AbortController();
  const emit = (event: LiveEvent) => events.push({ at: now + (performance.now() - begun) / 1000, event });
  const { transcriber, end } = await openTranscriber(model, check(liveOptions, given), given, signal, emit);
  const piece = Math.round(pieceSeconds * sampleRate);
  let computed = 0;
  try {
    for (let fed = 0, ended = false; !(ended && transcriber.flushed); ) {
      while (fed < samples.length && Math.min(fed + piece, samples.length) <= now * sampleRate + 1e-6) {
        transcriber.add(samples.subarray(fed, fed + piece));
        fed = Math.min(fed + piece, samples.length);
      }
      if (fed === samples.length && !ended) {
        transcriber.flush();
        ended = true;
      }
      begun = performance.now();
      const worked = await transcriber.work();
      const elapsed = (performance.now() - begun) / 1000;
      computed += elapsed;
      now += elapsed;
      if (!worked && fed < samples.length) now = Math.max(now, Math.min(fed + piece, samples.length) / sampleRate);
    }
  } finally {
    await end();
  }
  const finals = events.flatMap(({ event }) => (event.type === 'final' || event.type === 'failed' ? [event] : []));
  return {
    text: finals.map(({ text }) => text).join(''),
    duration: samples.length / sampleRate,
    computed,
    events,
    ...lagsOf(events),
  };
}

function lagsOf(events: readonly TimedEvent[]): LiveLags {
  const lags: LiveLags = { first: [], words: [], final: [] };
  const began = new Map<number, number>();
  const seen = new Set<number>();
  for (const { at, event } of events) {
    if (event.type === 'speech-started') began.set(event.turn, event.start);
    if ((event.type === 'partial' || event.type === 'confirmed') && event.text.trim() !== '' && !seen.has(event.turn)) {
      seen.add(event.turn);
      lags.first.push(at - (began.get(event.turn) ?? 0));
    }
    if (event.type === 'confirmed') for (const { end } of event.words) lags.words.push(at - end);
    if (event.type === 'final' && event.text.trim() !== '') lags.final.push(at - event.end);
  }
  return lags;
}

/** The value below which a share of them lies; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
