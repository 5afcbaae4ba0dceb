/** Finds speech that no segment covers, by the voice detector, and decodes it again. */
import { clock } from '../../audio/warnings.js';
import { check } from '../../options/options.js';
import { openDetector } from '../../vad/detector.js';
import { type CheckedVadOptions, vadOptions } from '../../vad/options.js';
import { thresholdsOf } from '../decoding/audio-context.js';
import { isDoubtful } from '../decoding/fallback.js';
import type { WindowResult } from '../decoding/windows.js';
import type { PeakMeter } from './peak.js';
import type { SampleWindow } from './samples.js';
import type { Draft } from './segment-builder.js';
import { splitWhole } from './segments.js';
import type { TranscriptionState } from './state.js';

/** A range of the decoded audio, in samples. */
export interface Stretch {
  begin: number;
  end: number;
}

/** Seconds of uncovered speech above which a stretch is decoded again. */
const leastSpeech = 1;
/** Seconds by which a segment's times may be wrong: speech this near to a segment belongs to it. */
const border = 0.5;
/** Seconds that the detector processes before a stretch, to adapt to the voice. */
const before = 1;
/** A shorter pause does not end speech, in seconds. */
const pause = 0.3;
/** Seconds before and after speech that are decoded with it. */
const padding = 0.3;
/** The most stretches of a window that are decoded. */
const mostStretches = 3;
/** The margin in seconds of the short window of a stretch, unless the caller has one. */
const usualMargin = 4;
/** Text with a higher probability of silence is not kept, if the caller has no threshold. */
const usualNoSpeech = 0.6;

/** A text's words without case and punctuation. */
const wordsOf = (text: string) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** True if a text is a part of its neighbour's beginning or end. */
export function repeats(text: string, neighbour: string): boolean {
  const [words, others] = [wordsOf(text), wordsOf(neighbour)];
  if (words.length === 0) return true;
  const same = (from: number) => words.every((word, i) => word === others[from + i]);
  return words.length <= others.length && (same(0) || same(others.length - words.length));
}

export class SpeechRecovery {
  readonly #job: TranscriptionState;
  readonly #samples: SampleWindow;
  readonly #vad: CheckedVadOptions;
  readonly #sampleRate: number;
  readonly #meter: PeakMeter;

  private constructor(job: TranscriptionState, samples: SampleWindow, meter: PeakMeter, vad: CheckedVadOptions) {
    this.#job = job;
    this.#samples = samples;
    this.#meter = meter;
    this.#vad = vad;
    this.#sampleRate = job.model.checkpoint.preprocessor.sampleRate;
  }

  /**
   * Null if nothing is recovered: the caller does not want it, or skips silence (`hallucinationSilenceThreshold`), or
   * the detector does not support the model's sample rate.
   */
  static of(job: TranscriptionState, samples: SampleWindow, meter: PeakMeter): SpeechRecovery | null {
    const { recoverSpeech, hallucinationSilenceThreshold, vad } = job.options;
    const { sampleRate } = job.model.checkpoint.preprocessor;
    if (!recoverSpeech || hallucinationSilenceThreshold !== undefined || sampleRate !== 16000) return null;
    const checked = check(vadOptions, typeof vad === 'object' && vad !== null ? vad : {}, { within: 'vad.' });
    return new SpeechRecovery(job, samples, meter, checked);
  }

  /**
   * Returns stretches of over a second of speech between `begin` and `end` that no segment covers, in order. `fresh`:
   * no earlier segment can extend past `begin`.
   */
  async uncovered(drafts: readonly Draft[], begin: number, end: number, fresh = begin === 0): Promise<Stretch[]> {
    const samples = (seconds: number) => Math.round(seconds * this.#sampleRate);
    const gaps: Stretch[] = [];
    let at = fresh ? begin : begin + samples(border);
    for (const segment of drafts.filter(({ text }) => text.trim() !== '')) {
      gaps.push({ begin: at, end: samples(segment.start - border) });
      at = Math.max(at, samples(segment.end + border));
    }
    gaps.push({ begin: at, end });
    const found: Stretch[] = [];
    for (const gap of gaps) {
      if (gap.end - gap.begin > samples(leastSpeech)) found.push(...(await this.#speech(gap)));
    }
    return found;
  }

  async #speech({ begin, end }: Stretch): Promise<Stretch[]> {
    const { threshold } = this.#vad;
    const seconds = this.#sampleRate;
    const detector = await openDetector(this.#vad);
    try {
      const { frame } = detector;
      const from = Math.max(0, begin - before * seconds);
      const heard = new Float32Array(Math.floor((end - from) / frame) * frame);
      this.#samples.fill(heard, from);
      const probabilities = await detector.probabilities(heard);
      const found: Stretch[] = [];
      for (let index = 0; index < probabilities.length; ++index) {
        const sample = from + index * frame;
        if (sample < begin || probabilities[index] < threshold) continue;
        const last = found.at(-1);
        if (last && sample - last.end <= pause * seconds) last.end = sample + frame;
        else found.push({ begin: sample, end: sample + frame });
      }
      return found.filter((one) => one.end - one.begin > leastSpeech * seconds);
    } finally {
      await detector.close();
    }
  }

  /** Where to begin decoding to include all of a stretch; not before `least`. */
  beginOf({ begin }: Stretch, least: number): number {
    return Math.max(least, begin - padding * this.#sampleRate);
  }

  /** True if the text of a second decoding is kept. */
  believes(attempt: WindowResult): boolean {
    const { decoding } = this.#job.settings;
    return (
      !isDoubtful(attempt, thresholdsOf(decoding)) &&
      attempt.noSpeechProbability <= (decoding.noSpeechThreshold ?? usualNoSpeech)
    );
  }

  /** Decodes stretches between the segments of a window and inserts their text. `peak` is the window's. */
  async fill(
    drafts: Draft[],
    stretches: readonly Stretch[],
    language: string | null,
    peak = this.#meter.peak,
  ): Promise<void> {
    const { builder, model } = this.#job;
    const { generation, preprocessor } = model.checkpoint;
    const { hop, sampleRate } = preprocessor;
    for (const [index, stretch] of stretches.entries()) {
      const at = drafts.filter(({ start }) => start * sampleRate < stretch.begin).length;
      const begin = Math.floor(this.beginOf(stretch, (drafts[at - 1]?.end ?? 0) * sampleRate) / hop) * hop;
      const end = Math.min(
        stretch.end + padding * sampleRate,
        (drafts[at]?.start ?? Number.POSITIVE_INFINITY) * sampleRate,
      );
      const attempt = index < mostStretches ? await this.#decode({ begin, end }, language, peak) : null;
      let found: Draft[] = [];
      if (attempt && this.believes(attempt)) {
        const frames = Math.max(1, Math.floor((end - begin) / hop));
        const speechEnd = builder.speechEnd;
        builder.speechEnd = drafts[at - 1]?.end ?? 0;
        found = builder.draft(begin, splitWhole(attempt.tokens, frames, generation).segments, attempt);
        builder.speechEnd = speechEnd;
        const neighbours = [drafts[at - 1], drafts[at]].flatMap((one) => one?.text ?? []);
        found = found.filter(({ text }) => !neighbours.some((neighbour) => repeats(text, neighbour)));
      }
      if (found.length > 0) drafts.splice(at, 0, ...found);
      else this.missed(stretch);
    }
  }

  /** Decodes a stretch once, at the first temperature: text of other temperatures would not be kept. */
  async #decode({ begin, end }: Stretch, language: string | null, peak: number): Promise<WindowResult> {
    const { model, settings, request, times } = this.#job;
    const { hop, fftSize } = model.checkpoint.preprocessor;
    const { decoding, margin } = settings;
    const chosen = {
      ...settings,
      language: language ?? settings.language,
      margin: margin ?? usualMargin,
      decoding: { ...decoding, temperatures: decoding.temperatures.slice(0, 1) },
    };
    const options = { seed: Math.round(begin / hop), frames: Math.floor((end - begin) / hop / 2) };
    const { attempt, timings } = await model.buffers.use((window) => {
      this.#samples.fill(window, begin - fftSize / 2, end);
      return model.decodeWindow(request, { samples: window, peak }, options, chosen);
    });
    times.add(timings);
    return attempt;
  }

  /** Warns of speech without text. */
  missed({ begin, end }: Stretch): void {
    const { builder, warnings } = this.#job;
    const time = (samples: number, isEnd: boolean) => clock(builder.toRecording(samples / this.#sampleRate, isEnd));
    warnings.warn(
      `Somebody seems to speak from ${time(begin, false)} to ${time(end, true)}, but no text came of it.`,
      'mended',
    );
  }
}
