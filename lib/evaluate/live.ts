/**
 * Live transcription of recordings on a simulated clock. Audio arrives as fast as it was spoken, and computation takes
 * its real time, but the clock skips the waiting for audio. So lags are measured as in real time, in less time than the
 * recording lasts.
 */
import { check } from '../options/options.js';
import type { WhisperModel } from '../whisper/decoding/whisper-model.js';
import { openTranscriber } from '../whisper/live/open.js';
import { type LiveOptions, liveOptions } from '../whisper/live/options.js';
import type { LiveEvent } from '../whisper/live/types.js';

/** Seconds of each piece of audio. */
const pieceSeconds = 0.1;

export interface TimedEvent {
  /** Seconds since the first sample was spoken. */
  at: number;
  event: LiveEvent;
}

/** Lags in a recording, in seconds. */
export interface LiveLags {
  /** From the beginning of speech to the first text, confirmed or not; one for each turn. */
  first: number[];
  /** From the end of a word, by its own times, to its confirmation. */
  words: number[];
  /** From the end of speech to the final text; one for each turn. */
  final: number[];
}

export interface LiveRun extends LiveLags {
  text: string;
  /** Seconds of the recording. */
  duration: number;
  /** Seconds of computation. */
  computed: number;
  events: TimedEvent[];
}

/** Transcribes samples at the model's rate as a live stream. */
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

/** The quantile of `values` at `share`, from 0 to 1; NaN if there are no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}
