/**
 * Simulates live transcription of recordings. On a simulated clock, audio arrives in real time and computation takes
 * its actual time; periods of waiting for audio are skipped. So delays are those of real time, but measuring them takes
 * less time than the recording.
 */
import { check } from '../options/options.js';
import type { WhisperModel } from '../whisper/decoding/whisper-model.js';
import { openTranscriber } from '../whisper/live/open.js';
import { type LiveOptions, liveOptions } from '../whisper/live/options.js';
import type { LiveEvent } from '../whisper/live/types.js';

/** Seconds of audio that arrive at once. */
const chunkSeconds = 0.1;

export interface TimedEvent {
  /** Seconds of the simulated clock, which starts with the first sample. */
  at: number;
  event: LiveEvent;
}

/** Delays in a recording, in seconds. */
export interface LiveLags {
  /** From the beginning of speech to the first text, confirmed or not, for each turn. */
  first: number[];
  /** From the end of each word, by its transcribed times, to its confirmation. */
  words: number[];
  /** From the end of speech to the final text, for each turn. */
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
  let started = 0;
  const { signal } = new AbortController();
  const emit = (event: LiveEvent) => events.push({ at: now + (performance.now() - started) / 1000, event });
  const { transcriber, end } = await openTranscriber(model, check(liveOptions, given), given, signal, emit);
  const chunk = Math.round(chunkSeconds * sampleRate);
  let computed = 0;
  try {
    for (let added = 0, ended = false; !(ended && transcriber.flushed); ) {
      while (added < samples.length && Math.min(added + chunk, samples.length) <= now * sampleRate + 1e-6) {
        transcriber.add(samples.subarray(added, added + chunk));
        added = Math.min(added + chunk, samples.length);
      }
      if (added === samples.length && !ended) {
        transcriber.flush();
        ended = true;
      }
      started = performance.now();
      const worked = await transcriber.work();
      const elapsed = (performance.now() - started) / 1000;
      computed += elapsed;
      now += elapsed;
      if (!worked && added < samples.length) now = Math.max(now, Math.min(added + chunk, samples.length) / sampleRate);
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
  const speechStarts = new Map<number, number>();
  const turnsWithText = new Set<number>();
  for (const { at, event } of events) {
    if (event.type === 'speech-started') speechStarts.set(event.turn, event.start);
    if (
      (event.type === 'partial' || event.type === 'confirmed') &&
      event.text.trim() !== '' &&
      !turnsWithText.has(event.turn)
    ) {
      turnsWithText.add(event.turn);
      lags.first.push(at - (speechStarts.get(event.turn) ?? 0));
    }
    if (event.type === 'confirmed') for (const { end } of event.words) lags.words.push(at - end);
    if (event.type === 'final' && event.text.trim() !== '') lags.final.push(at - event.end);
  }
  return lags;
}

/** The quantile at `fraction`, from 0 to 1; NaN if there are no values. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))];
}
