/** Finds speech that no segment covers, with the voice detector, and decodes it again. */
import { clock } from '../../audio/warnings.js';
import { check } from '../../options/options.js';
import { openDetector } from '../../vad/detector.js';
import { type CheckedVadOptions, vadOptions } from '../../vad/options.js';
import { strictThresholds } from '../decoding/audio-context.js';
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

/** Stretches with more seconds of uncovered speech than this are decoded again. */
const minimumSpeech = 1;
/** Seconds by which the times of segments may be wrong: speech this near to a segment belongs to it. */
const border = 0.5;
/** Seconds before a stretch that the detector processes first, to adapt to the voice. */
const leadIn = 1;
/** The maximum length in seconds of a pause within a stretch. */
const pause = 0.3;
/** Seconds before and after a stretch that are decoded with it. */
const padding = 0.3;
/** The maximum number of stretches of a window that are decoded. */
const maximumStretches = 3;
/** The default of `audioContextMargin` for stretches, in seconds. */
const defaultMargin = 4;
/** Replaces the caller's `noSpeechThreshold` if that is 'none'. */
const defaultNoSpeechThreshold = 0.6;

/** Returns the words of a text in lower case, without punctuation. */
const wordsOf = (text: string) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];

/** True if the neighbouring text begins or ends with the words of a text. */
export function repeats(text: string, neighbour: string): boolean {
  const [words, others] = [wordsOf(text), wordsOf(neighbour)];
  if (words.length === 0) return true;
  const matches = (from: number) => words.every((word, i) => word === others[from + i]);
  return words.length <= others.length && (matches(0) || matches(others.length - words.length));
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
   * Returns null if speech is not recovered: because of the options `recoverSpeech` or `hallucinationSilenceThreshold`,
   * or if the detector does not support the model's sample rate.
   */
  static of(job: TranscriptionState, samples: SampleWindow, meter: PeakMeter): SpeechRecovery | null {
    const { recoverSpeech, hallucinationSilenceThreshold, vad } = job.options;
    const { sampleRate } = job.model.checkpoint.preprocessor;
    if (!recoverSpeech || hallucinationSilenceThreshold !== undefined || sampleRate !== 16000) return null;
    const checked = check(vadOptions, typeof vad === 'object' && vad !== null ? vad : {}, { within: 'vad.' });
    return new SpeechRecovery(job, samples, meter, checked);
  }

  /**
   * Returns the stretches of more than a second of speech between samples `begin` and `end` that no segment covers, in
   * order. `isStart` is true if no earlier segment can extend past `begin`.
   */
  async uncovered(drafts: readonly Draft[], begin: number, end: number, isStart = begin === 0): Promise<Stretch[]> {
    const samples = (seconds: number) => Math.round(seconds * this.#sampleRate);
    const gaps: Stretch[] = [];
    let coveredTo = isStart ? begin : begin + samples(border);
    for (const segment of drafts.filter(({ text }) => text.trim() !== '')) {
      gaps.push({ begin: coveredTo, end: samples(segment.start - border) });
      coveredTo = Math.max(coveredTo, samples(segment.end + border));
    }
    gaps.push({ begin: coveredTo, end });
    const stretches: Stretch[] = [];
    for (const gap of gaps) {
      if (gap.end - gap.begin > samples(minimumSpeech)) stretches.push(...(await this.#speechIn(gap)));
    }
    return stretches;
  }

  async #speechIn({ begin, end }: Stretch): Promise<Stretch[]> {
    const { threshold } = this.#vad;
    const seconds = this.#sampleRate;
    const detector = await openDetector(this.#vad);
    try {
      const { frame } = detector;
      const from = Math.max(0, begin - leadIn * seconds);
      const samples = new Float32Array(Math.floor((end - from) / frame) * frame);
      this.#samples.fill(samples, from);
      const probabilities = await detector.probabilities(samples);
      const stretches: Stretch[] = [];
      for (let index = 0; index < probabilities.length; ++index) {
        const position = from + index * frame;
        if (position < begin || probabilities[index] < threshold) continue;
        const last = stretches.at(-1);
        if (last && position - last.end <= pause * seconds) last.end = position + frame;
        else stretches.push({ begin: position, end: position + frame });
      }
      return stretches.filter((stretch) => stretch.end - stretch.begin > minimumSpeech * seconds);
    } finally {
      await detector.close();
    }
  }

  /** Returns the sample from which a stretch is decoded: not before `minimum`. */
  beginOf({ begin }: Stretch, minimum: number): number {
    return Math.max(minimum, begin - padding * this.#sampleRate);
  }

  /** True if the text of a second decoding is certain enough to be kept. */
  accepts(attempt: WindowResult): boolean {
    const { decoding } = this.#job.settings;
    return (
      !isDoubtful(attempt, strictThresholds(decoding)) &&
      attempt.noSpeechProbability <= (decoding.noSpeechThreshold ?? defaultNoSpeechThreshold)
    );
  }

  /** Decodes stretches between the segments of a window, and inserts their text. `peak` is that of the window. */
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
      const position = drafts.filter(({ start }) => start * sampleRate < stretch.begin).length;
      const [previous, next]: (Draft | undefined)[] = [drafts[position - 1], drafts[position]];
      const begin = Math.floor(this.beginOf(stretch, (previous?.end ?? 0) * sampleRate) / hop) * hop;
      const end = Math.min(stretch.end + padding * sampleRate, (next?.start ?? Number.POSITIVE_INFINITY) * sampleRate);
      const attempt = index < maximumStretches ? await this.#decode({ begin, end }, language, peak) : null;
      let recovered: Draft[] = [];
      if (attempt && this.accepts(attempt)) {
        const frames = Math.max(1, Math.floor((end - begin) / hop));
        const speechEnd = builder.speechEnd;
        builder.speechEnd = previous?.end ?? 0;
        const all = builder.draft(begin, splitWhole(attempt.tokens, frames, generation).segments, attempt);
        builder.speechEnd = speechEnd;
        const neighbours = [previous, next].flatMap((draft) => draft?.text ?? []);
        recovered = all.filter(({ text }) => !neighbours.some((neighbour) => repeats(text, neighbour)));
      }
      if (recovered.length > 0) drafts.splice(position, 0, ...recovered);
      else this.warnOfMissing(stretch);
    }
  }

  /** Decodes a stretch at the first temperature only, since text of other temperatures would not be kept. */
  async #decode({ begin, end }: Stretch, language: string | null, peak: number): Promise<WindowResult> {
    const job = this.#job;
    const { model, settings, request, times } = job;
    const { hop, fftSize } = model.checkpoint.preprocessor;
    const { decoding, margin } = settings;
    const stretchSettings = {
      ...settings,
      language: language ?? settings.language,
      margin: margin ?? defaultMargin,
      decoding: { ...decoding, temperatures: decoding.temperatures.slice(0, 1) },
    };
    const frames = Math.floor((end - begin) / hop);
    const options = { seed: Math.round(begin / hop), frames: Math.floor(frames / 2) };
    const { attempt, timings } = await model.buffers.use((window) => {
      this.#samples.fill(window, begin - fftSize / 2, end);
      const modelWindow = { samples: window, peak, soundFrames: job.soundFrames(frames) };
      return model.decodeWindow(request, modelWindow, options, stretchSettings);
    });
    times.add(timings);
    return attempt;
  }

  /** Adds a warning about speech without text. */
  warnOfMissing({ begin, end }: Stretch): void {
    const { builder, warnings } = this.#job;
    const time = (samples: number, isEnd: boolean) => clock(builder.toRecording(samples / this.#sampleRate, isEnd));
    warnings.warn(
      `There seems to be speech from ${time(begin, false)} to ${time(end, true)}, but the model gives no text for it.`,
      'mended',
    );
  }
}
