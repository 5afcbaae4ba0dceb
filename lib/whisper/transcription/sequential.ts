/**
 * The sequential planner: decodes one window after another. Each window begins at the last timestamp of the previous
 * one, as in openai/whisper.
 */
import { nextBreak } from '../../audio/pieces.js';
import { isSkipped } from '../decoding/silence.js';
import { TextContext } from './context.js';
import { type DecodedWindow, dropInventions, finishWindow, keptTokens } from './finish-window.js';
import { type GuardedWindow, skipHallucinations } from './hallucination.js';
import { detectFirst } from './language.js';
import { PeakMeter } from './peak.js';
import { repeats, SpeechRecovery, type Stretch } from './recovery.js';
import type { WindowText } from './running-text.js';
import type { SampleWindow } from './samples.js';
import { type Draft, round } from './segment-builder.js';
import { splitWhole, splitWindow, type WindowSegment } from './segments.js';
import type { Outcome, TranscriptionState } from './state.js';
import type { Segment } from './types.js';
import { advanceToPause, cutOff } from './window-begin.js';
import { endOfSpeech } from './words.js';

type WindowRequest = ReturnType<TextContext['next']>;

/** How many times parts of one window may be decoded again. */
const maximumRepeats = 3;

/** A decoded window of `frames` frames, which must not cross sample `limit`. */
interface Window extends DecodedWindow {
  frames: number;
  limit: number;
  /** True if the next window follows the same text as this one, since this one's text is dropped. */
  again?: boolean;
}

/** A window's text, and the number of frames to the next window. */
interface PlacedText {
  drafts: Draft[];
  advance: number;
}

class SequentialPlanner {
  readonly #job: TranscriptionState;
  readonly #samples: SampleWindow;
  readonly #breaks: readonly number[];
  readonly #lookAhead: number;
  readonly #context: TextContext;
  readonly #meter: PeakMeter;
  readonly #recovery: SpeechRecovery | null;
  /** The language in which the next window is expected. */
  #language: string | null = null;
  /** Published tokens of the previous window that belong to the next one. */
  #carried: readonly number[] = [];
  /** While parts of a window are decoded again: the end of that window in samples, and the number of repeats. */
  #repeated = { until: 0, times: 0 };
  /** The last segment's text. */
  #lastText = '';

  constructor(job: TranscriptionState, samples: SampleWindow, breaks: readonly number[], lookAheadSeconds: number) {
    const { options, tokenizer, model } = job;
    const { config, preprocessor } = model.checkpoint;
    this.#job = job;
    this.#samples = samples;
    this.#breaks = breaks;
    this.#lookAhead = Math.max(lookAheadSeconds * preprocessor.sampleRate, preprocessor.samples + preprocessor.fftSize);
    this.#context = new TextContext(options, tokenizer, config.targetPositions);
    this.#meter = new PeakMeter(model, samples);
    this.#recovery = SpeechRecovery.of(job, samples, this.#meter);
  }

  async *outcomes(): AsyncGenerator<Outcome> {
    const job = this.#job;
    const samples = this.#samples;
    const { hop, fftSize, sampleRate } = job.model.checkpoint.preprocessor;
    if (await this.#detectsFirst()) await detectFirst(job, samples, this.#meter);
    for (let seek = 0; ; ) {
      job.options.signal?.throwIfAborted();
      const begin = seek * hop;
      const request = this.#context.next();
      if (this.#carried.length > 0) request.prefix = this.#carried;
      await this.#showPartial(begin, request);
      await job.times.during('audio', () => samples.readTo(begin + this.#lookAhead));
      const frames = this.#framesFrom(begin);
      // As in openai/whisper, only complete frames count, but a recording shorter than a frame still gets a window.
      if (samples.end === 0 || (frames < 1 && seek > 0)) return;

      const published = job.running?.window(this.#carried);
      published?.activate();
      const decoded = await this.#decode(begin, request, false, published);
      const limit = nextBreak(this.#breaks, begin);
      const window: Window = { begin, frames, limit, published, ...decoded };
      const text = await this.#place(window);
      if (this.#recovery && !window.attempt.silent) await this.#recover(this.#recovery, window, text);
      const next = Math.min((seek + text.advance) * hop, samples.end, limit);
      const segments = this.#finish(window, text.drafts, next);
      seek += text.advance;
      if (limit < (seek + 1) * hop) seek = Math.ceil(limit / hop);
      // Samples that have not been measured are kept.
      samples.drop(Math.min(seek * hop, this.#meter.measured) - fftSize);
      yield { segments, processed: round(job.builder.toRecording(next / sampleRate, true)) };
      if (samples.ended && seek * hop + hop > samples.end) return;
    }
  }

  /** True if the language is detected before the first window is decoded. */
  async #detectsFirst(): Promise<boolean> {
    const { options, model } = this.#job;
    if (options.languageDetectionWindows > 1) return true;
    if (options.rules !== 'openai' || options.windowPadding !== 'zeros') return false;
    // openai/whisper pads with zeros for decoding, but with silence to detect the language.
    const { frames, samples, fftSize } = model.checkpoint.preprocessor;
    await this.#samples.readTo(samples + fftSize);
    return this.#framesFrom(0) < frames;
  }

  /** The number of complete frames, read so far, of the window that begins at `begin`. */
  #framesFrom(begin: number): number {
    const { frames, hop } = this.#job.model.checkpoint.preprocessor;
    const end = Math.min(this.#samples.end, nextBreak(this.#breaks, begin));
    return Math.min(frames, Math.floor((end - begin) / hop));
  }

  /** Decodes an incomplete window for `onPartial`, each time that more of a live recording has arrived. */
  async #showPartial(begin: number, request: WindowRequest): Promise<void> {
    const { options, model } = this.#job;
    const { onPartial, partialInterval } = options;
    if (!onPartial || !partialInterval) return;
    const samples = this.#samples;
    const { hop, sampleRate, samples: windowSamples } = model.checkpoint.preprocessor;
    const step = Math.max(hop, Math.round(partialInterval * sampleRate));
    for (let length = step; length < windowSamples && !samples.ended; length += step) {
      if (samples.end >= begin + length) continue;
      if (samples.end > nextBreak(this.#breaks, begin)) return;
      await samples.readTo(begin + length);
      if (!samples.ended) await this.#decode(begin, request, true);
    }
  }

  /** Decodes the window that begins at `begin`, with the audio read so far. `provisional` is for `onPartial`. */
  async #decode(begin: number, request: WindowRequest, provisional: boolean, published?: WindowText) {
    const job = this.#job;
    const samples = this.#samples;
    const meter = this.#meter;
    const breaks = this.#breaks;
    const { model, settings, options } = job;
    const { hop, fftSize, samples: windowSamples } = model.checkpoint.preprocessor;
    // The peak of a recording with a single window is found when its features are computed.
    const isOnlyWindow = begin === 0 && breaks.length === 0 && samples.ended && samples.end <= windowSamples;
    if (!isOnlyWindow) await job.times.during('features', () => meter.measure(options.signal));
    const { decoding } = settings;
    const expected = { ...settings, language: this.#language ?? settings.language };
    const windowSettings = provisional
      ? {
          ...expected,
          follow: false,
          journal: undefined,
          decoding: { ...decoding, beamSize: 1, temperatures: [0], words: false },
        }
      : expected;
    const frames = Math.floor(this.#framesFrom(begin) / 2);
    const { attempt, timings, voice } = await model.buffers.use(async (window) => {
      const end = samples.fill(window, begin - fftSize / 2, nextBreak(breaks, begin));
      const length = Math.max(1, this.#framesFrom(begin)) * hop;
      const voice = job.detectVoice(window.subarray(fftSize / 2, fftSize / 2 + length));
      const windowOptions = { ...request, seed: begin / hop, frames, onTokens: job.partial(begin), published, voice };
      const modelWindow = { samples: window, end, peak: meter.peak, soundFrames: job.soundFrames(length / hop) };
      const decoded = await model.decodeWindow(job.request, modelWindow, windowOptions, windowSettings);
      return { ...decoded, voice: await voice };
    });
    job.times.add(timings);
    return { attempt, voice };
  }

  /** Places a window's text in time, and determines where the next window begins. */
  async #place(window: Window): Promise<PlacedText> {
    const job = this.#job;
    const { begin, frames, attempt, published } = window;
    const { hop, sampleRate } = job.model.checkpoint.preprocessor;
    const atChange = attempt.change && Math.max(1, Math.round((attempt.change.at * sampleRate) / hop));
    const tokens = keptTokens(job, window, published?.tokens.length || this.#carried.length + 1);
    if (tokens === null) return { drafts: [], advance: atChange ?? Math.max(1, frames) };
    const split = this.#split(window, tokens);
    const lastEnd = job.builder.speechEnd;
    const drafts = job.builder.draft(begin, split.segments, attempt);
    let { advance } = split;
    if (job.options.windowBegin === 'pause' && advance < frames) {
      const moved = await advanceToPause(job.model, this.#samples, begin, advance, window.limit);
      if (cutOff(drafts.at(-1), (begin + moved * hop) / sampleRate)) advance = moved;
    }
    if (job.settings.decoding.words) {
      const byWords = this.#advanceByWords(window, drafts, { ...split, advance, lastEnd });
      advance = byWords.advance;
      window.again = byWords.again;
      job.builder.speechEnd = endOfSpeech(drafts) ?? lastEnd;
    }
    dropInventions(job, window, drafts);
    return { drafts, advance: atChange ?? advance };
  }

  /** Splits a window's tokens at its timestamps. Published tokens after the last segment are carried on. */
  #split({ frames, published }: Window, tokens: number[]) {
    const { settings, running, model } = this.#job;
    const { config, generation, preprocessor } = model.checkpoint;
    const advance = Math.max(1, frames);
    const singleSegment: WindowSegment = {
      start: 0,
      end: (frames * preprocessor.hop) / preprocessor.sampleRate,
      tokens,
    };
    const split =
      settings.timestamps === 'segment'
        ? splitWindow(tokens, advance, generation)
        : { segments: [singleSegment], advance, loneEnd: false };
    const segmentTokens = split.segments.reduce((count, segment) => count + segment.tokens.length, 0);
    this.#carried = published ? running!.publishedAfter(published, segmentTokens) : [];
    const carried = this.#carried.length;
    if (carried > config.targetPositions / 4 || (carried > 0 && split.advance >= frames)) {
      // These tokens cannot be carried to the next window: it has too little room, or does not exist.
      this.#carried = [];
      return { ...split, ...splitWhole(tokens, advance, generation), advance };
    }
    return split;
  }

  /**
   * The number of frames to the next window if there are word times, and whether that has the same text before it as
   * this one. By default it begins at the timestamp. It begins after the last word if there are no timestamps or
   * `hallucinationSilenceThreshold` is set, and after silence next to text that looks hallucinated; that text is
   * removed from `drafts`. openai/whisper always continues after the last word, but here timestamps are more exact than
   * the ends of words.
   */
  #advanceByWords(
    { begin, frames }: Window,
    drafts: Draft[],
    { advance: byTimestamps, loneEnd, lastEnd }: { advance: number; loneEnd: boolean; lastEnd: number },
  ): { advance: number; again: boolean } {
    const { settings, options, model } = this.#job;
    const { hop, sampleRate, samples: windowSamples } = model.checkpoint.preprocessor;
    const { hallucinationSilenceThreshold: threshold } = options;
    const samples = this.#samples;
    const window: GuardedWindow = {
      begin: begin / sampleRate,
      duration: (frames * hop) / sampleRate,
      windowEnd: (begin + windowSamples) / sampleRate,
      audioEnd: samples.ended ? samples.end / sampleRate : Number.POSITIVE_INFINITY,
      lastEnd,
    };
    const framesTo = (seconds: number) => Math.round((seconds - window.begin) * (sampleRate / hop));
    const end = endOfSpeech(drafts);
    const untimed = settings.timestamps === 'none';
    let advance = byTimestamps;
    let again = false;
    if (!loneEnd && end !== undefined && end > window.begin && (untimed || threshold !== undefined)) {
      const silent = threshold !== undefined && window.windowEnd - end <= threshold;
      advance = silent ? frames : framesTo(end);
    }
    if (threshold !== undefined) {
      const text = skipHallucinations(drafts, window, threshold);
      drafts.length = text.kept;
      if (text.seek !== null) advance = framesTo(text.seek);
      again = text.again;
    }
    return { advance: Math.max(1, Math.min(advance, frames)), again };
  }

  /** Finds speech that no draft covers: the next window begins there, or it is decoded separately. */
  async #recover(recovery: SpeechRecovery, window: Window, text: PlacedText): Promise<void> {
    const { begin, attempt, published, limit } = window;
    const { hop, sampleRate } = this.#job.model.checkpoint.preprocessor;
    const reached = Math.min(begin + text.advance * hop, this.#samples.end, limit);
    const isRepeat = begin < this.#repeated.until;
    if (!isRepeat) this.#repeated = { until: 0, times: 0 };
    if (isRepeat && !published) {
      // A window with nothing but a repeated part keeps its text only if that is certain.
      if (reached <= this.#repeated.until && !recovery.accepts(attempt)) text.drafts = [];
      if (text.drafts.length > 0 && repeats(text.drafts[0].text, this.#lastText)) text.drafts.shift();
    }
    const { drafts } = text;
    const stretches = await recovery.uncovered(drafts, begin, reached, isRepeat || begin === 0);
    const lastEnd = drafts.length > 0 ? drafts[drafts.length - 1].end * sampleRate : begin;
    const tail = stretches.find((stretch) => stretch.begin >= lastEnd && stretch.begin - begin >= sampleRate);
    if (tail && this.#repeated.times < maximumRepeats) {
      // The next window begins with this stretch, and includes those after it.
      stretches.splice(stretches.indexOf(tail));
      this.#repeated = { until: Math.max(this.#repeated.until, reached), times: this.#repeated.times + 1 };
      text.advance = Math.floor((recovery.beginOf(tail, Math.max(begin + hop, lastEnd)) - begin) / hop);
    }
    // A stretch at the start of a repeated window has been decoded twice already.
    const isFinal = (stretch: Stretch) => published !== undefined || (isRepeat && stretch.begin - begin < sampleRate);
    for (const stretch of stretches.filter(isFinal)) recovery.warnOfMissing(stretch);
    const others = stretches.filter((stretch) => !isFinal(stretch));
    await recovery.fill(drafts, others, this.#language);
  }

  /** Returns the window's segments, and keeps what the next window needs of them. */
  #finish(window: Window, drafts: readonly Draft[], next: number): Segment[] {
    const { attempt, published, limit } = window;
    const { settings } = this.#job;
    const samples = this.#samples;
    const audioEnd = Math.min(limit, samples.ended ? samples.end : limit);
    const segments = finishWindow(this.#job, window, drafts, { audioEnd, next });
    if ((!isSkipped(attempt, settings.decoding) || published?.text) && !window.again) {
      this.#context.add(
        segments.flatMap(({ tokens }) => tokens),
        attempt.temperature,
      );
    }
    if (segments.length > 0) {
      this.#lastText = segments[segments.length - 1].text;
      if (settings.follow) this.#language = attempt.language;
    }
    this.#language = attempt.change?.language ?? this.#language;
    return segments;
  }
}

/**
 * Yields the outcome of each window. No window crosses one of `breaks`, in samples. The time of reading audio includes
 * waiting for a stream.
 */
export function sequential(
  job: TranscriptionState,
  samples: SampleWindow,
  breaks: readonly number[],
  lookAheadSeconds: number,
): AsyncGenerator<Outcome> {
  return new SequentialPlanner(job, samples, breaks, lookAheadSeconds).outcomes();
}
