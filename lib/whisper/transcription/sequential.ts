/**
 * Long audio, one window after the other. Each window begins where the timestamps of the one before end, as in
 * openai/whisper.
 */
import { nextBreak } from '../../audio/pieces.js';
import { isSkipped } from '../decoding/silence.js';
import { TextContext } from './context.js';
import { type GuardedWindow, guard } from './hallucination.js';
import { detectFirst } from './language.js';
import { PeakMeter } from './peak.js';
import { repeats, SpeechRecovery, type Stretch } from './recovery.js';
import type { WindowText } from './running-text.js';
import type { SampleWindow } from './samples.js';
import { type Draft, round } from './segment-builder.js';
import { splitWhole, splitWindow, type WindowSegment } from './segments.js';
import type { Outcome, TranscriptionState } from './state.js';
import { advanceToPause, endBy } from './window-begin.js';

/**
 * Frames to the next window if words are timed: it begins after the last word if no timestamp says where, and after
 * silence next to text that looks invented. Such text is removed from `drafts`. openai/whisper always goes on from the
 * last word. Here the model's timestamps are more exact than the ends of words, which come from the decoding pass.
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
    const { kept, goOn: seek } = guard(drafts, window, threshold);
    drafts.length = kept;
    if (seek !== null) advance = framesTo(seek);
  }
  return Math.max(1, Math.min(advance, frames));
}

/** How often a part of one window may be decoded again. */
const mostAgain = 3;

/**
 * Yields the outcome of each window. No window crosses one of `breaks`. The time of reading audio includes waiting for
 * a stream.
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
  /** The language of the previous window, or the one that begins after it. */
  let language: string | null = null;
  /** Whole frames of the window that begins at `begin`, as far as audio was read. */
  const framesFrom = (begin: number) =>
    Math.min(windowFrames, Math.floor((Math.min(samples.end, nextBreak(breaks, begin)) - begin) / hop));

  /** Decodes the window that begins at `begin`, as far as audio was read. */
  const decode = async (
    begin: number,
    request: ReturnType<TextContext['next']>,
    provisional: boolean,
    given?: WindowText,
  ) => {
    // A recording of one window is measured when its features are computed.
    const alone = begin === 0 && breaks.length === 0 && samples.ended && samples.end <= windowSamples;
    if (!alone) await job.times.during('features', () => meter.measure(signal));
    const { decoding } = settings;
    const expected = { ...settings, language: language ?? settings.language };
    const chosen = provisional
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
      const voice = job.listen(window.subarray(fftSize / 2, fftSize / 2 + Math.max(1, framesFrom(begin)) * hop));
      const windowOptions = { ...request, seed: begin / hop, frames, onTokens: job.partial(begin), given, voice };
      const modelWindow = { samples: window, end, peak: meter.peak };
      const decoded = await model.decodeWindow(job.request, modelWindow, windowOptions, chosen);
      return { ...decoded, voice: await voice };
    });
    job.times.add(timings);
    return { attempt, voice };
  };

  const recovery = SpeechRecovery.of(job, samples, meter);
  /** While a part of a window is decoded again: the window's end, and how often this was done. */
  let again = { until: 0, times: 0 };
  /** The last segment's text. */
  let lastText = '';

  if (options.languageDetectionWindows > 1) await detectFirst(job, samples, meter);
  /** Tokens that the previous window published and that lie in this one. */
  let carried: readonly number[] = [];
  for (let seek = 0; ; ) {
    signal?.throwIfAborted();
    const begin = seek * hop;
    const request = context.next();
    if (carried.length > 0) request.prefix = carried;
    if (options.onPartial && partialInterval) {
      const step = Math.max(hop, Math.round(partialInterval * sampleRate));
      for (let heard = step; heard < windowSamples && !samples.ended; heard += step) {
        if (samples.end >= begin + heard) continue;
        if (samples.end > nextBreak(breaks, begin)) break;
        await samples.readTo(begin + heard);
        if (!samples.ended) await decode(begin, request, true);
      }
    }
    const wanted = begin + Math.max(lookAheadSeconds * sampleRate, windowSamples + fftSize);
    await job.times.during('audio', () => samples.readTo(wanted));
    const frames = framesFrom(begin);
    // As in the reference only whole frames count, but a recording shorter than a frame still gets a window.
    if (samples.end === 0 || (frames < 1 && seek > 0)) return;

    const given = job.running?.window(carried);
    given?.activate();
    const { attempt, voice } = await decode(begin, request, false, given);
    const limit = nextBreak(breaks, begin);
    let drafts: Draft[] = [];
    let advance = Math.max(1, frames);
    const skipped = isSkipped(attempt, settings.decoding);
    if (!skipped || given?.text) {
      job.setLanguage(attempt.language);
      // For a silent window only the published text is kept.
      const tokens = skipped ? attempt.tokens.slice(0, given!.tokens.length || carried.length + 1) : attempt.tokens;
      const whole: WindowSegment = { start: 0, end: (frames * hop) / sampleRate, tokens };
      const split =
        settings.timestamps === 'segment'
          ? splitWindow(tokens, advance, generation)
          : { segments: [whole], advance, loneEnd: false };
      carried = given ? job.running!.behind(given, split.segments.flatMap((one) => one.tokens).length) : [];
      if (carried.length > config.targetPositions / 4 || (carried.length > 0 && split.advance >= frames)) {
        // The next window has no room for them, or there is none.
        Object.assign(split, splitWhole(tokens, advance, generation), { advance });
        carried = [];
      }
      const lastEnd = job.builder.speechEnd;
      drafts = job.builder.draft(begin, split.segments, attempt);
      advance = split.advance;
      const toPause = options.windowBegin === 'pause' && advance < frames;
      if (toPause) {
        const moved = await advanceToPause(model, samples, begin, advance, limit);
        if (endBy(drafts.at(-1), (begin + moved * hop) / sampleRate)) advance = moved;
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
      if (!given?.text) job.dropInventions(drafts, begin / sampleRate, voice);
    }
    if (attempt.change) advance = Math.max(1, Math.round((attempt.change.at * sampleRate) / hop));
    if (recovery && !attempt.silent) {
      const reached = Math.min(begin + advance * hop, samples.end, limit);
      const isAgain = begin < again.until;
      if (!isAgain) again = { until: 0, times: 0 };
      // If a window is only a part that is decoded again, its text is kept only if it is certain.
      if (isAgain && !given && reached <= again.until && !recovery.believes(attempt)) drafts = [];
      if (isAgain && !given && drafts.length > 0 && repeats(drafts[0].text, lastText)) drafts.shift();
      const stretches = await recovery.uncovered(drafts, begin, reached, isAgain || begin === 0);
      const behind = drafts.length > 0 ? drafts[drafts.length - 1].end * sampleRate : begin;
      const tail = stretches.find((one) => one.begin >= behind && one.begin - begin >= sampleRate);
      if (tail && again.times < mostAgain) {
        // The next window begins there and covers what follows, too.
        stretches.splice(stretches.indexOf(tail));
        again = { until: Math.max(again.until, reached), times: again.times + 1 };
        advance = Math.floor((recovery.beginOf(tail, Math.max(begin + hop, behind)) - begin) / hop);
      }
      // The stretch that this window began with has been decoded twice already.
      const done = (one: Stretch) => given !== undefined || (isAgain && one.begin - begin < sampleRate);
      for (const one of stretches.filter(done)) recovery.missed(one);
      const others = stretches.filter((one) => !done(one));
      await recovery.fill(drafts, others, language);
    }
    const segments = job.builder.publish(drafts, Math.min(limit, samples.ended ? samples.end : limit) / sampleRate);
    if (given && (!skipped || given.text)) job.running!.finish(given, segments.map(({ text }) => text).join(''));
    if (!skipped || given?.text) {
      context.add(
        segments.flatMap(({ tokens }) => tokens),
        attempt.temperature,
      );
    }
    if (segments.length > 0) {
      lastText = segments[segments.length - 1].text;
      // Noise has no language: a window without text does not set the language of the next.
      if (settings.follow) {
        job.warnOfLanguage(attempt.language, begin);
        language = attempt.language;
      }
    }
    language = attempt.change?.language ?? language;
    const done = Math.min((seek + advance) * hop, samples.end, limit) / sampleRate;
    if (skipped && segments.length === 0) job.omit(begin / sampleRate, done, 'no speech', attempt.tokens);
    seek += advance;
    if (limit < (seek + 1) * hop) seek = Math.ceil(limit / hop);
    samples.drop(seek * hop - fftSize);
    yield { segments, processed: round(job.builder.toRecording(done, true)) };
    if (samples.ended && seek * hop + hop > samples.end) return;
  }
}
