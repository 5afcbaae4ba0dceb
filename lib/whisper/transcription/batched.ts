/** The batched planner: cuts a recording into windows at silences, and decodes several of them at once. */
import { nextBreak } from '../../audio/pieces.js';
import type { SpeechSource } from '../../vad/speech.js';
import type { Voice } from '../../vad/voice.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import { TextContext } from './context.js';
import { type DecodedWindow, dropInventions, finishWindow, keptTokens } from './finish-window.js';
import { detectFirst } from './language.js';
import { PeakMeter } from './peak.js';
import { SpeechRecovery } from './recovery.js';
import type { WindowText } from './running-text.js';
import type { SampleWindow } from './samples.js';
import { type Draft, round } from './segment-builder.js';
import { splitWhole, type WindowSegment } from './segments.js';
import type { Outcome, TranscriptionState } from './state.js';

/** A window's text, and the result of voice detection if it is needed. */
type Decoded = Awaited<ReturnType<WhisperModel['decodeWindow']>> & { voice?: Voice };

/** The range of a window in samples. */
interface Range {
  begin: number;
  end: number;
  /** The language, if a part in another language than the recording's begins here. */
  language?: string;
}

/** The length in seconds of the quiet part at which speech is cut. */
const quietSeconds = 0.1;

/** Cuts audio into windows: between pieces of speech if possible, otherwise where it is quietest. */
class WindowCutter {
  readonly #samples: SampleWindow;
  readonly #pieces: SpeechSource['pieces'];
  readonly #breaks: readonly number[];
  readonly #windowSamples: number;
  readonly #hop: number;
  readonly #quietSamples: number;
  /** The beginning of the next window. */
  #begin = 0;

  constructor(job: TranscriptionState, samples: SampleWindow, speech: SpeechSource | null, breaks: readonly number[]) {
    const { samples: windowSamples, sampleRate, hop } = job.model.checkpoint.preprocessor;
    this.#samples = samples;
    this.#pieces = speech?.pieces ?? [];
    this.#breaks = breaks;
    this.#windowSamples = windowSamples;
    this.#hop = hop;
    this.#quietSamples = Math.round(quietSeconds * sampleRate);
  }

  /** Reads the next window and returns its range; null at the end of the recording. */
  async next(): Promise<Range | null> {
    const begin = this.#begin;
    const maximumEnd = begin + this.#windowSamples;
    await this.#samples.readTo(maximumEnd + 1);
    if (this.#samples.end <= begin) return null;
    const limit = Math.min(this.#samples.end, nextBreak(this.#breaks, begin));
    const end = limit <= maximumEnd ? limit : this.#cut(begin, maximumEnd);
    this.#begin = end;
    return { begin, end };
  }

  /** Returns the best position for a cut in the second half of a full window. */
  #cut(begin: number, maximumEnd: number): number {
    const middle = begin + this.#windowSamples / 2;
    const piece = this.#pieces.findLast(({ at }) => at > middle && at <= maximumEnd);
    const cut = piece?.at ?? this.#samples.quietest(middle, maximumEnd, this.#quietSamples);
    return Math.round(cut / this.#hop) * this.#hop;
  }
}

/** Places the text of a window that ends at sample `end`. It is decoded whole, whatever its last timestamp. */
function draftsOf(job: TranscriptionState, window: DecodedWindow, end: number): Draft[] {
  const { begin, attempt, published } = window;
  const { generation, preprocessor } = job.model.checkpoint;
  const tokens = keptTokens(job, window, published?.tokens.length ?? 0);
  if (tokens === null) return [];
  const frames = Math.max(1, Math.floor((end - begin) / preprocessor.hop));
  const singleSegment: WindowSegment = { start: 0, end: (end - begin) / preprocessor.sampleRate, tokens };
  const segments =
    job.settings.timestamps === 'segment' ? splitWhole(tokens, frames, generation).segments : [singleSegment];
  const drafts = job.builder.draft(begin, segments, attempt);
  dropInventions(job, window, drafts);
  return drafts;
}

/** A window that is being decoded. */
interface Pending {
  range: Range;
  peak: number;
  published?: WindowText;
  result: Promise<Decoded>;
}

/** Reads windows and has several of them decoded at once. */
class WindowQueue {
  /** Windows that are being decoded, in order. */
  readonly pending: Pending[] = [];
  /** The error that ended reading. The audio before it is transcribed first. */
  failure: { error: unknown } | null = null;
  readonly #job: TranscriptionState;
  readonly #samples: SampleWindow;
  readonly #meter: PeakMeter;
  readonly #cutter: WindowCutter;
  readonly #context: TextContext;
  #reading: Promise<void> | null = null;
  #ended = false;

  constructor(job: TranscriptionState, samples: SampleWindow, meter: PeakMeter, cutter: WindowCutter) {
    this.#job = job;
    this.#samples = samples;
    this.#meter = meter;
    this.#cutter = cutter;
    this.#context = new TextContext(job.options, job.tokenizer, job.model.checkpoint.config.targetPositions);
  }

  /** The next window, once it has been decoded; undefined at the end of what could be read. */
  async next(): Promise<Pending | undefined> {
    const { model, options } = this.#job;
    for (;;) {
      options.signal?.throwIfAborted();
      // One window more than the model holds is pending, so that the device need not wait for reading.
      if (!this.#ended && this.pending.length <= model.windows) {
        this.#reading ??= this.#read().finally(() => {
          this.#reading = null;
        });
      }
      const [next] = this.pending;
      // Only the first pending window publishes its text, since text is published in order.
      next?.published?.activate();
      if (!this.#reading) return this.pending.shift();
      const read = this.#reading.then(() => false);
      // A decoded window is returned even if the next one is still being read.
      const decoded = next?.result.then(
        () => true,
        () => true,
      );
      if (await Promise.race(decoded ? [read, decoded] : [read])) return this.pending.shift();
    }
  }

  /** Reads, measures and submits the next window. */
  async #read(): Promise<void> {
    const { times, options } = this.#job;
    try {
      const range = await times.during('audio', () => this.#cutter.next());
      if (!range) {
        this.#ended = true;
        return;
      }
      await times.during('features', () => this.#meter.measure(options.signal));
      this.pending.push(this.#submit(range, this.#meter.peak));
    } catch (error) {
      this.failure = { error };
      this.#ended = true;
    }
  }

  /** Submits a window that comes before all pending ones. */
  putBack(range: Range, peak: number): void {
    this.pending.unshift(this.#submit(range, peak));
  }

  #submit(range: Range, peak: number): Pending {
    const { model, settings, request } = this.#job;
    const { hop, fftSize } = model.checkpoint.preprocessor;
    const { begin, end } = range;
    const published = this.#job.running?.window();
    if (this.pending.length === 0) published?.activate();
    const windowOptions = {
      ...this.#context.next(),
      seed: Math.round(begin / hop),
      frames: Math.floor((end - begin) / hop / 2),
      onTokens: this.#job.partial(begin),
      published,
    };
    const result = model.buffers.use(async (window) => {
      const soundEnd = this.#samples.fill(window, begin - fftSize / 2, end);
      const voice = this.#job.detectVoice(window.subarray(fftSize / 2, fftSize / 2 + end - begin));
      const soundFrames = this.#job.soundFrames(Math.floor((end - begin) / hop));
      const modelWindow = { samples: window, end: soundEnd, peak, soundFrames };
      const windowSettings = { ...settings, language: range.language ?? settings.language };
      const decoded = await model.decodeWindow(request, modelWindow, { ...windowOptions, voice }, windowSettings);
      return { ...decoded, voice: await voice };
    });
    result.catch(() => {}); // thrown when the result of this window is awaited
    return { range, peak, published, result };
  }
}

/**
 * Yields the outcome of each window, in order. As many windows as the model holds are decoded at once. No window
 * crosses one of `breaks`, in samples.
 */
export async function* batched(
  job: TranscriptionState,
  samples: SampleWindow,
  speech: SpeechSource | null,
  breaks: readonly number[],
): AsyncGenerator<Outcome> {
  const { sampleRate, hop, fftSize } = job.model.checkpoint.preprocessor;
  const meter = new PeakMeter(job.model, samples);
  const recovery = SpeechRecovery.of(job, samples, meter);
  const queue = new WindowQueue(job, samples, meter, new WindowCutter(job, samples, speech, breaks));

  await detectFirst(job, samples, meter);
  for (let next = await queue.next(); next; next = await queue.next()) {
    const { range, peak, published } = next;
    const { attempt, timings, voice } = await next.result;
    job.times.add(timings);
    const { begin } = range;
    let { end } = range;
    if (attempt.change) {
      // The part in another language becomes the next window.
      const { at: seconds, language } = attempt.change;
      const rest = { begin: begin + Math.max(1, Math.round((seconds * sampleRate) / hop)) * hop, end, language };
      if (rest.begin < end) queue.putBack(rest, peak);
      end = Math.min(rest.begin, end);
    }
    const window = { begin, attempt, voice, published };
    const drafts = draftsOf(job, window, end);
    if (recovery && !attempt.silent) {
      const stretches = await recovery.uncovered(drafts, begin, end);
      if (published) for (const stretch of stretches) recovery.warnOfMissing(stretch);
      else await recovery.fill(drafts, stretches, attempt.language, peak);
    }
    const segments = finishWindow(job, window, drafts, { audioEnd: end, next: end });
    // Samples that have not been measured are kept.
    samples.drop(Math.min(end, meter.measured) - fftSize);
    yield { segments, processed: round(job.builder.toRecording(end / sampleRate, true)) };
  }
  if (queue.failure) throw queue.failure.error;
}
