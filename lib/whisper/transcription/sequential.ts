/**
 * The sequential planner: decodes one window after another. Each window begins at the last timestamp of the previous
 * one, as in openai/whisper.
 */
import { nextBreak } from '../../audio/pieces.js';
import { isSkipped } from '../decoding/silence.js';
import { TextContext } from './context.js';
import { type GuardedWindow, skipHallucinations } from './hallucination.js';
import { detectFirst } from './language.js';
import { PeakMeter } from './peak.js';
import { repeats, SpeechRecovery, type Stretch } from './recovery.js';
import type { WindowText } from './running-text.js';
import type { SampleWindow } from './samples.js';
import { type Draft, round } from './segment-builder.js';
import { splitWhole, splitWindow, type WindowSegment } from './segments.js';
import type { Outcome, TranscriptionState } from './state.js';
import { advanceToPause, cutOff } from './window-begin.js';

/**
 * Returns the number of frames to the next window if there are word times. By default it begins at the timestamp. It
 * begins after the last word if there are no timestamps or `threshold` is set, and after silence next to text that
 * looks hallucinated; that text is removed from `drafts`. openai/whisper always continues after the last word, but here
 * timestamps are more exact than the ends of words.
 */
function nextSeek(
  drafts: Draft[],
  window: GuardedWindow,
  { loneEnd, untimed }: { loneEnd: boolean; untimed: boolean },
  threshold: number | undefined,
  byTimestamps: number,
  frames: number,
  framesPerSecond: number,
): number {
  const framesTo = (seconds: number) => Math.round((seconds - window.begin) * framesPerSecond);
  const lastWord = drafts.flatMap(({ words = [] }) => words).at(-1);
  const end = lastWord?.end ?? drafts.at(-1)?.end;
  let advance = byTimestamps;
  if (!loneEnd && end !== undefined && end > window.begin && (untimed || threshold !== undefined)) {
    const silent = threshold !== undefined && window.windowEnd - end <= threshold;
    advance = silent ? frames : framesTo(end);
  }
  if (threshold !== undefined) {
    const { kept, seek } = skipHallucinations(drafts, window, threshold);
    drafts.length = kept;
    if (seek !== null) advance = framesTo(seek);
  }
  return Math.max(1, Math.min(advance, frames));
}

/** How many times parts of one window may be decoded again. */
const maximumRepeats = 3;

/**
 * Yields the outcome of each window. No window crosses one of `breaks`, in samples. The time of reading audio includes
 * waiting for a stream.
 */
export async function* sequential(
  job: TranscriptionState,
  samples: SampleWindow,
  breaks: readonly number[],
  lookAheadSeconds: number,
): AsyncGenerator<Outcome> {
  const { model, options, settings } = job;
  const { config, generation, preprocessor } = model.checkpoint;
  const { sampleRate, hop, fftSize, frames: windowFrames, samples: windowSamples } = preprocessor;
  const { signal, partialInterval } = options;
  const context = new TextContext(options, job.tokenizer, config.targetPositions);
  const meter = new PeakMeter(model, samples);
  /** The language in which the next window is expected. */
  let language: string | null = null;
  /** The number of complete frames, read so far, of the window that begins at `begin`. */
  const framesFrom = (begin: number) =>
    Math.min(windowFrames, Math.floor((Math.min(samples.end, nextBreak(breaks, begin)) - begin) / hop));

  /** Decodes the window that begins at `begin`, with the audio read so far. `provisional` is for `onPartial`. */
  const decode = async (
    begin: number,
    request: ReturnType<TextContext['next']>,
    provisional: boolean,
    published?: WindowText,
  ) => {
    // The peak of a recording with a single window is found when its features are computed.
    const isOnlyWindow = begin === 0 && breaks.length === 0 && samples.ended && samples.end <= windowSamples;
    if (!isOnlyWindow) await job.times.during('features', () => meter.measure(signal));
    const { decoding } = settings;
    const expected = { ...settings, language: language ?? settings.language };
    const windowSettings = provisional
      ? {
          ...expected,
          follow: false,
          journal: undefined,
          decoding: { ...decoding, beamSize: 1, temperatures: [0], words: false },
        }
      : expected;
    const frames = Math.floor(framesFrom(begin) / 2);
    const { attempt, timings, voice } = await model.buffers.use(async (window) => {
      const end = samples.fill(window, begin - fftSize / 2, nextBreak(breaks, begin));
      const voice = job.detectVoice(window.subarray(fftSize / 2, fftSize / 2 + Math.max(1, framesFrom(begin)) * hop));
      const windowOptions = { ...request, seed: begin / hop, frames, onTokens: job.partial(begin), published, voice };
      const modelWindow = { samples: window, end, peak: meter.peak };
      const decoded = await model.decodeWindow(job.request, modelWindow, windowOptions, windowSettings);
      return { ...decoded, voice: await voice };
    });
    job.times.add(timings);
    return { attempt, voice };
  };

  const recovery = SpeechRecovery.of(job, samples, meter);
  /** While parts of a window are decoded again: the end of that window in samples, and the number of repeats. */
  let repeated = { until: 0, times: 0 };
  /** The last segment's text. */
  let lastText = '';

  if (options.languageDetectionWindows > 1) await detectFirst(job, samples, meter);
  /** Published tokens of the previous window that belong to this one. */
  let carried: readonly number[] = [];
  for (let seek = 0; ; ) {
    signal?.throwIfAborted();
    const begin = seek * hop;
    const request = context.next();
    if (carried.length > 0) request.prefix = carried;
    if (options.onPartial && partialInterval) {
      const step = Math.max(hop, Math.round(partialInterval * sampleRate));
      for (let length = step; length < windowSamples && !samples.ended; length += step) {
        if (samples.end >= begin + length) continue;
        if (samples.end > nextBreak(breaks, begin)) break;
        await samples.readTo(begin + length);
        if (!samples.ended) await decode(begin, request, true);
      }
    }
    const readTo = begin + Math.max(lookAheadSeconds * sampleRate, windowSamples + fftSize);
    await job.times.during('audio', () => samples.readTo(readTo));
    const frames = framesFrom(begin);
    // As in openai/whisper, only complete frames count, but a recording shorter than a frame still gets a window.
    if (samples.end === 0 || (frames < 1 && seek > 0)) return;

    const published = job.running?.window(carried);
    published?.activate();
    const { attempt, voice } = await decode(begin, request, false, published);
    const limit = nextBreak(breaks, begin);
    let drafts: Draft[] = [];
    let advance = Math.max(1, frames);
    const skipped = isSkipped(attempt, settings.decoding);
    if (!skipped || published?.text) {
      job.setLanguage(attempt.language);
      // Of a silent window only the published text is kept.
      const tokens = skipped ? attempt.tokens.slice(0, published!.tokens.length || carried.length + 1) : attempt.tokens;
      const singleSegment: WindowSegment = { start: 0, end: (frames * hop) / sampleRate, tokens };
      const split =
        settings.timestamps === 'segment'
          ? splitWindow(tokens, advance, generation)
          : { segments: [singleSegment], advance, loneEnd: false };
      const segmentTokens = split.segments.reduce((count, segment) => count + segment.tokens.length, 0);
      carried = published ? job.running!.publishedAfter(published, segmentTokens) : [];
      if (carried.length > config.targetPositions / 4 || (carried.length > 0 && split.advance >= frames)) {
        // These tokens cannot be carried to the next window: it has too little room, or does not exist.
        Object.assign(split, splitWhole(tokens, advance, generation), { advance });
        carried = [];
      }
      const lastEnd = job.builder.speechEnd;
      drafts = job.builder.draft(begin, split.segments, attempt);
      advance = split.advance;
      if (options.windowBegin === 'pause' && advance < frames) {
        const moved = await advanceToPause(model, samples, begin, advance, limit);
        if (cutOff(drafts.at(-1), (begin + moved * hop) / sampleRate)) advance = moved;
      }
      if (settings.decoding.words) {
        const window = {
          begin: begin / sampleRate,
          duration: (frames * hop) / sampleRate,
          windowEnd: (begin + windowSamples) / sampleRate,
          audioEnd: samples.ended ? samples.end / sampleRate : Number.POSITIVE_INFINITY,
          lastEnd,
        };
        advance = nextSeek(
          drafts,
          window,
          { loneEnd: split.loneEnd, untimed: settings.timestamps === 'none' },
          options.hallucinationSilenceThreshold,
          advance,
          frames,
          sampleRate / hop,
        );
        job.builder.speechEnd = drafts.at(-1)?.end ?? lastEnd;
      }
      if (!published?.text) job.dropInventions(drafts, begin / sampleRate, voice);
    }
    if (attempt.change) advance = Math.max(1, Math.round((attempt.change.at * sampleRate) / hop));
    if (recovery && !attempt.silent) {
      const reached = Math.min(begin + advance * hop, samples.end, limit);
      const isRepeat = begin < repeated.until;
      if (!isRepeat) repeated = { until: 0, times: 0 };
      // A window with nothing but a repeated part keeps its text only if that is certain.
      if (isRepeat && !published && reached <= repeated.until && !recovery.accepts(attempt)) drafts = [];
      if (isRepeat && !published && drafts.length > 0 && repeats(drafts[0].text, lastText)) drafts.shift();
      const stretches = await recovery.uncovered(drafts, begin, reached, isRepeat || begin === 0);
      const lastEnd = drafts.length > 0 ? drafts[drafts.length - 1].end * sampleRate : begin;
      const tail = stretches.find((stretch) => stretch.begin >= lastEnd && stretch.begin - begin >= sampleRate);
      if (tail && repeated.times < maximumRepeats) {
        // The next window begins with this stretch, and includes those after it.
        stretches.splice(stretches.indexOf(tail));
        repeated = { until: Math.max(repeated.until, reached), times: repeated.times + 1 };
        advance = Math.floor((recovery.beginOf(tail, Math.max(begin + hop, lastEnd)) - begin) / hop);
      }
      // A stretch at the start of a repeated window has been decoded twice already.
      const isFinal = (stretch: Stretch) => published !== undefined || (isRepeat && stretch.begin - begin < sampleRate);
      for (const stretch of stretches.filter(isFinal)) recovery.warnOfMissing(stretch);
      const others = stretches.filter((stretch) => !isFinal(stretch));
      await recovery.fill(drafts, others, language);
    }
    const segments = job.builder.publish(drafts, Math.min(limit, samples.ended ? samples.end : limit) / sampleRate);
    if (published && (!skipped || published.text)) {
      job.running!.finish(published, segments.map(({ text }) => text).join(''));
    }
    if (!skipped || published?.text) {
      context.add(
        segments.flatMap(({ tokens }) => tokens),
        attempt.temperature,
      );
    }
    if (segments.length > 0) {
      lastText = segments[segments.length - 1].text;
      // The language of a window without text is not reliable.
      if (settings.follow) {
        job.warnOfLanguage(attempt.language, begin);
        language = attempt.language;
      }
    }
    language = attempt.change?.language ?? language;
    const processed = Math.min((seek + advance) * hop, samples.end, limit) / sampleRate;
    if (skipped && segments.length === 0) job.omit(begin / sampleRate, processed, 'no speech', attempt.tokens);
    seek += advance;
    if (limit < (seek + 1) * hop) seek = Math.ceil(limit / hop);
    samples.drop(seek * hop - fftSize);
    yield { segments, processed: round(job.builder.toRecording(processed, true)) };
    if (samples.ended && seek * hop + hop > samples.end) return;
  }
}
