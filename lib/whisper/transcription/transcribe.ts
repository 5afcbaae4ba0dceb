/** Transcribes a recording: opens its sources, runs a planner of windows, and collects the segments. */
import type { AudioSource, Source } from '../../audio/index.js';
import type { PiecedSource } from '../../audio/pieces.js';
import { OneheadError } from '../../errors.js';
import { onAbort } from '../../signals.js';
import { SpeechSource } from '../../vad/speech.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import { readAhead } from './ahead.js';
import { budgetOf, withBudget } from './audio-budget.js';
import { batched } from './batched.js';
import { channelOutcomes } from './channels.js';
import { ClipSource } from './clips.js';
import { detectFirst } from './language.js';
import type { TranscribeOptions } from './options.js';
import { PeakMeter } from './peak.js';
import { longStep } from './sample-arrays.js';
import { SampleWindow } from './samples.js';
import { round } from './segment-builder.js';
import { sequential } from './sequential.js';
import type { Outcome, TranscriptionState } from './state.js';
import type { Timings } from './timings.js';
import type { DetectedLanguage, Segment, Transcription } from './types.js';

/**
 * Default of the option `lookAhead`: seconds that are read ahead of a window to find the loudest sound, by which
 * features are normalized. openai/whisper uses that of the whole recording. Ten minutes take 38 MB.
 */
const lookAheadSeconds = 600;
/** Seconds of audio that are decoded ahead while the device works. */
const readAheadSeconds = 60;
/** The same for `stream`, whose input may be live and whose consumer may stop at any time. */
const readAheadLiveSeconds = 30;
/** A rest of speech of up to this many seconds may be too short for a window, and counts as processed. */
const restSeconds = 0.02;

/**
 * Returns a signal that is aborted by the call's own signal, by its time limit, and by `disposal` of the model. `stop`
 * aborts what is still running when the call ends; `end` removes the timer and the listeners. AbortSignal.any would
 * keep them as long as the model's signal exists.
 */
export function limited(
  { signal, timeout }: Pick<TranscribeOptions, 'signal' | 'timeout'>,
  disposal: AbortSignal,
): { signal: AbortSignal; stop: () => void; end: () => void } {
  const controller = new AbortController();
  const sources = signal ? [signal, disposal] : [disposal];
  const follow = ({ target }: Event) => controller.abort((target as AbortSignal).reason);
  const removals = sources.map((source) => {
    if (source.aborted) controller.abort(source.reason);
    return onAbort(source, follow);
  });
  const timeOut = () =>
    controller.abort(
      new OneheadError(
        'TIMED_OUT',
        `The transcription took longer than ${timeout} ms; allow more time or use a smaller model.`,
      ),
    );
  const timer = typeof timeout === 'number' ? setTimeout(timeOut, timeout) : undefined;
  const end = () => {
    clearTimeout(timer);
    for (const remove of removals) remove();
  };
  const stop = () => controller.abort(new OneheadError('DISPOSED', 'The transcription has ended.'));
  return { signal: controller.signal, stop, end };
}

const noSamples = () =>
  new OneheadError('AUDIO_INVALID', 'The audio contains no samples; give a recording with sound in it.');

/** Returns the source of the recording's clips, or of the whole recording. */
function selectClips(
  { model, options: { clips } }: TranscriptionState,
  source: AudioSource,
): AudioSource & Partial<PiecedSource> {
  const { sampleRate, hop } = model.checkpoint.preprocessor;
  return clips === undefined ? source : new ClipSource(source, clips, sampleRate, hop);
}

/** An open recording: a source of mixed channels, or of separate ones if the option `channels` is 'separate'. */
export type Recording = AudioSource | Source<Float32Array[]>;

/** Yields the outcomes of a recording's windows. */
function outcomesOf(job: TranscriptionState, source: Recording, live: boolean): AsyncGenerator<Outcome> {
  if (job.options.channels !== 'separate') return outcomes(job, source as AudioSource, live);
  const channelOutcome = (state: TranscriptionState, channel: AudioSource) => outcomes(state, channel, live);
  return channelOutcomes(job, source as Source<Float32Array[]>, channelOutcome);
}

/** Yields outcomes in order. If `live` is true, a window does not wait for audio after it, which may not exist yet. */
async function* outcomes(job: TranscriptionState, recording: AudioSource, live: boolean): AsyncGenerator<Outcome> {
  const { model, options } = job;
  const source = selectClips(job, recording);
  job.total = source.duration;
  const { sampleRate } = model.checkpoint.preprocessor;
  const inBatches = options.batched;
  const vadOption = options.vad ?? inBatches;
  const vad = vadOption === true ? {} : vadOption || null;
  const speech = vad ? await SpeechSource.open(source, sampleRate, vad, inBatches) : null;
  const fromSource = (seconds: number, isEnd: boolean) =>
    source.toRecording?.(seconds, isEnd) ?? seconds + (source.startTime ?? 0);
  job.builder.toRecording = (seconds, isEnd) =>
    fromSource(speech ? speech.toRecording(seconds, isEnd) : seconds, isEnd);
  job.known = (processed) => {
    if (!speech) return processed;
    // If all detected speech has been decoded, the text is complete up to the end of the detected silence.
    const last = speech.pieces.at(-1);
    const lastEnd = last && fromSource((last.begin + last.length) / sampleRate, true);
    const isWaiting = lastEnd !== undefined && lastEnd > processed + restSeconds;
    return isWaiting ? processed : Math.max(processed, fromSource(speech.settled / sampleRate, true));
  };
  const ahead = live ? readAheadLiveSeconds : readAheadSeconds;
  const chunks = readAhead((speech ?? source).chunks(), ahead * sampleRate, ({ length }) => length);
  const samples = new SampleWindow(chunks, (speech ?? source).ownsChunks);
  try {
    const readSamples = () => source.position ?? speech?.position ?? samples.end;
    const duration = () => round(readSamples() / sampleRate + (source.startTime ?? 0));
    const breaks = (speech ?? source).breaks ?? [];
    const windows = inBatches
      ? batched(job, samples, speech, breaks)
      : sequential(job, samples, breaks, options.lookAhead ?? (live ? 0 : lookAheadSeconds));
    for await (const outcome of windows) {
      job.duration = duration();
      job.addWarnings(source);
      yield outcome;
    }
    job.addWarnings(source);
    if (readSamples() === 0) throw noSamples();
    job.duration = duration();
    if (samples.failure) throw samples.failure;
  } finally {
    // Windows may still be decoded if the caller leaves early.
    job.stop();
    // The source is closed first, which ends reads that wait for more.
    await source.close();
    await chunks.return(undefined).catch(() => {});
    samples.release();
    await speech?.release();
  }
}

/** Transcribes a recording, and returns the result in the form of OpenAI's verbose_json. */
export async function transcribe(
  job: TranscriptionState,
  source: Recording,
): Promise<Transcription & { timings: Timings }> {
  const { model, options } = job;
  const { sampleRate } = model.checkpoint.preprocessor;
  const budget = budgetOf(model, heldSeconds(model, lookAheadSeconds));
  const ahead = options.batched
    ? (model.windows * model.checkpoint.preprocessor.samples) / sampleRate
    : (options.lookAhead ?? lookAheadSeconds);
  const held = heldSeconds(model, ahead);
  const budgeted = withBudget<Float32Array | Float32Array[]>(source, budget, held, sampleRate, {
    ...options,
    wait: (work) => model.waitFor(job.request, work),
  });
  try {
    for await (const { segments, processed } of outcomesOf(job, budgeted as Recording, false)) {
      job.finished.push(...segments);
      job.options.onProgress?.({ processed, total: job.total, segments });
    }
  } finally {
    await budgeted.close();
  }
  return { ...resultOf(job, source), timings: job.times.total };
}

/**
 * Seconds of audio that a long recording holds if it is read so far ahead of its windows: `SampleWindow` keeps up to a
 * seventh more, in whole steps, and `readAhead` has more.
 */
function heldSeconds({ checkpoint }: WhisperModel, ahead: number): number {
  const { sampleRate, samples } = checkpoint.preprocessor;
  const kept = Math.ceil(((ahead * sampleRate + 2 * samples) * (8 / 7)) / longStep) * longStep;
  return kept / sampleRate + readAheadSeconds;
}

/** Returns the finished part of a transcription. */
export function resultOf(job: TranscriptionState, { tracks = [] }: Recording): Transcription {
  return {
    task: job.settings.task,
    language: job.languageOfText,
    duration: job.duration,
    text: job.finished.map(({ text }) => text).join(''),
    segments: job.finished,
    ...(tracks.length > 1 && { tracks: [...tracks] }),
    ...(job.omitted.length > 0 && { omitted: [...job.omitted] }),
    warnings: [...job.warnings.sentences],
    incomplete: job.warnings.incomplete,
  };
}

/** Detects the language of a recording's beginning. */
export async function detectLanguage(job: TranscriptionState, source: AudioSource): Promise<DetectedLanguage> {
  const { model } = job;
  if (!model.checkpoint.generation.multilingual) {
    throw new OneheadError('NOT_SUPPORTED', 'This model writes English only and cannot detect languages.');
  }
  const samples = new SampleWindow(source.chunks(), source.ownsChunks);
  const probabilities = await detectFirst(job, samples, new PeakMeter(model, samples)).finally(() => samples.release());
  if (!probabilities) throw noSamples();
  const [language, probability] = likeliestLanguage(probabilities);
  return { language, probability, probabilities: Object.fromEntries(probabilities) };
}

/** Yields the segments of a recording as soon as they are finished. */
export async function* stream(job: TranscriptionState, source: Recording): AsyncGenerator<Segment> {
  for await (const { segments, processed } of outcomesOf(job, source, true)) {
    job.options.onProgress?.({ processed, total: job.total, segments });
    yield* segments;
  }
}
