/** Long audio, several windows at once: they are cut at silence, and each is decoded whole. */
import { nextBreak } from '../../audio/pieces.js';
import type { SpeechSource } from '../../vad/speech.js';
import type { Voice } from '../../vad/voice.js';
import { isSkipped } from '../decoding/silence.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import { TextContext } from './context.js';
import { detectFirst } from './language.js';
import { PeakMeter } from './peak.js';
import { SpeechRecovery } from './recovery.js';
import type { WindowText } from './running-text.js';
import type { SampleWindow } from './samples.js';
import { type Draft, round } from './segment-builder.js';
import { splitWhole, type WindowSegment } from './segments.js';
import type { Outcome, TranscriptionState } from './state.js';

/** A window's text, and the voice detector's result if it is needed. */
type Decoded = Awaited<ReturnType<WhisperModel['decodeWindow']>> & { voice?: Voice };

/** The samples of a window. */
interface Range {
  begin: number;
  end: number;
  /** The language, if another one than the recording's begins here. */
  language?: string;
}

/** The length in seconds of the quiet part at which speech is cut. */
const quietSeconds = 0.1;

/** Cuts audio into windows: between pieces of speech if there are any in reach, else where it is quietest. */
class Cutter {
  readonly #samples: SampleWindow;
  readonly #pieces: SpeechSource['pieces'];
  readonly #breaks: readonly number[];
  readonly #longest: number;
  readonly #hop: number;
  readonly #quiet: number;
  #at = 0;

  constructor(job: TranscriptionState, samples: SampleWindow, speech: SpeechSource | null, breaks: readonly number[]) {
    const { samples: longest, sampleRate, hop } = job.model.checkpoint.preprocessor;
    this.#samples = samples;
    this.#pieces = speech?.pieces ?? [];
    this.#breaks = breaks;
    this.#longest = longest;
    this.#hop = hop;
    this.#quiet = Math.round(quietSeconds * sampleRate);
  }

  /** Returns the next windows, at most `count`; none at the end. */
  async take(count: number): Promise<Range[]> {
    const ranges: Range[] = [];
    while (ranges.length < count) {
      const begin = this.#at;
      const reach = begin + this.#longest;
      await this.#samples.readTo(reach + 1);
      if (this.#samples.end <= begin) break;
      const limit = Math.min(this.#samples.end, nextBreak(this.#breaks, begin));
      const end = limit <= reach ? limit : this.#cut(begin, reach);
      ranges.push({ begin, end });
      this.#at = end;
    }
    return ranges;
  }

  #cut(begin: number, reach: number): number {
    const least = begin + this.#longest / 2;
    const between = this.#pieces.findLast(({ at }) => at > least && at <= reach);
    const cut = between?.at ?? this.#samples.quietest(least, reach, this.#quiet);
    return Math.round(cut / this.#hop) * this.#hop;
  }
}

/**
 * Yields the outcome of each window, in order. As many windows as the model holds are decoded at the same time. No
 * window crosses one of `breaks`.
 */
export async function* batched(
  job: TranscriptionState,
  samples: SampleWindow,
  speech: SpeechSource | null,
  breaks: readonly number[],
): AsyncGenerator<Outcome> {
  const { model, options, settings } = job;
  const { config, generation, preprocessor } = model.checkpoint;
  const { sampleRate, hop, fftSize } = preprocessor;
  const { signal } = options;
  const context = new TextContext(options, job.tokenizer, config.targetPositions);
  const meter = new PeakMeter(model, samples);
  const recovery = SpeechRecovery.of(job, samples, meter);
  const cutter = new Cutter(job, samples, speech, breaks);

  await detectFirst(job, samples, meter);
  /** Windows that are being decoded, in order. */
  const pending: { range: Range; peak: number; given?: WindowText; result: Promise<Decoded> }[] = [];
  const submit = (range: Range, peak: number): (typeof pending)[number] => {
    const { begin, end } = range;
    const given = job.running?.window();
    if (pending.length === 0) given?.activate();
    const windowOptions = {
      ...context.next(),
      seed: Math.round(begin / hop),
      frames: Math.floor((end - begin) / hop / 2),
      onTokens: job.partial(begin),
      given,
    };
    const result = model.buffers.use(async (window) => {
      const soundEnd = samples.fill(window, begin - fftSize / 2, end);
      const voice = job.listen(window.subarray(fftSize / 2, fftSize / 2 + end - begin));
      const signal = { samples: window, end: soundEnd, peak };
      const chosen = { ...settings, language: range.language ?? settings.language };
      const decoded = await model.decodeWindow(job.request, signal, { ...windowOptions, voice }, chosen);
      return { ...decoded, voice: await voice };
    });
    result.catch(() => {}); // reported when the window's turn comes
    return { range, peak, given, result };
  };
  /** The error that ended reading. What was read before is transcribed first. */
  let failure: { error: unknown } | null = null;
  let ended = false;
  /** Reads, measures and submits the next window. */
  const read = async (): Promise<void> => {
    try {
      const [range] = await job.times.during('audio', () => cutter.take(1));
      if (!range) {
        ended = true;
        return;
      }
      await job.times.during('features', () => meter.measure(signal));
      pending.push(submit(range, meter.peak));
    } catch (error) {
      failure = { error };
      ended = true;
    }
  };
  let reading: Promise<void> | null = null;
  for (;;) {
    signal?.throwIfAborted();
    // One more than fits, so that the device never waits for a window to be read and cut.
    if (!ended && pending.length <= model.windows) {
      reading ??= read().finally(() => {
        reading = null;
      });
    }
    const [next] = pending;
    // The others publish their text after it.
    next?.given?.activate();
    if (!next && !reading) {
      if (failure) throw (failure as { error: unknown }).error;
      return;
    }
    // A finished window is published while the next is still being read.
    const isDone = next?.result.then(
      () => true,
      () => true,
    );
    if (reading && !(await Promise.race([reading.then(() => false), ...(isDone ? [isDone] : [])]))) continue;
    pending.shift();
    const { attempt, timings, voice } = await next.result;
    job.times.add(timings);
    const { begin } = next.range;
    let { end } = next.range;
    if (attempt.change) {
      // The part in another language becomes the next window.
      const { at, language } = attempt.change;
      const rest = { begin: begin + Math.max(1, Math.round((at * sampleRate) / hop)) * hop, end, language };
      if (rest.begin < end) pending.unshift(submit(rest, next.peak));
      end = Math.min(rest.begin, end);
    }
    let drafts: Draft[] = [];
    const skipped = isSkipped(attempt, settings.decoding);
    if (!skipped || next.given?.text) {
      job.setLanguage(attempt.language);
      // For a silent window only the published text is kept.
      const tokens = skipped ? attempt.tokens.slice(0, next.given!.tokens.length) : attempt.tokens;
      const frames = Math.max(1, Math.floor((end - begin) / hop));
      const whole: WindowSegment = { start: 0, end: (end - begin) / sampleRate, tokens };
      const split = settings.timestamps === 'segment' ? splitWhole(tokens, frames, generation).segments : [whole];
      drafts = job.builder.draft(begin, split, attempt);
      if (!next.given?.text) job.dropInventions(drafts, begin / sampleRate, voice);
    }
    if (recovery && !attempt.silent) {
      const stretches = await recovery.uncovered(drafts, begin, end);
      if (next.given) for (const stretch of stretches) recovery.missed(stretch);
      else await recovery.fill(drafts, stretches, attempt.language, next.peak);
    }
    const segments = job.builder.publish(drafts, end / sampleRate);
    if (next.given && (!skipped || next.given.text)) {
      job.running!.finish(next.given, segments.map(({ text }) => text).join(''));
    }
    if (skipped && segments.length === 0) {
      job.omit(begin / sampleRate, end / sampleRate, 'no speech', attempt.tokens);
    }
    if (settings.follow && segments.length > 0) job.warnOfLanguage(attempt.language, begin);
    // Samples that were not measured yet are kept.
    samples.drop(Math.min(end, meter.measured) - fftSize);
    yield { segments, processed: round(job.builder.toRecording(end / sampleRate, true)) };
  }
}
