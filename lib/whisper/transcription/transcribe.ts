/** A whole recording to segments: what is heard, in which order it is decoded, and when it is given up. */
import type { AudioSource, Source } from '../../audio/index.js';
import type { PiecedSource } from '../../audio/pieces.js';
import { OneheadError } from '../../errors.js';
import { SpeechSource } from '../../vad/speech.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import { readAhead } from './ahead.js';
import { batched } from './batched.js';
import { channelOutcomes } from './channels.js';
import { ClipSource } from './clips.js';
import { detectFirst } from './language.js';
import type { TranscribeOptions } from './options.js';
import { PeakMeter } from './peak.js';
import { SampleWindow } from './samples.js';
import { round } from './segment-builder.js';
import { sequential } from './sequential.js';
import type { Outcome, TranscriptionState } from './state.js';
import type { Timings } from './timings.js';
import type { DetectedLanguage, Segment, Transcription } from './types.js';

/**
 * Seconds that are read ahead of the window, to know the loudest sound that features are measured against: the
 * reference knows the whole recording. Ten minutes are 38 MB; a longer recording is measured against what was heard up
 * to ten minutes ahead.
 */
const lookAheadSeconds = 600;
/** Seconds of audio that are decoded while the device works. */
const readAheadSeconds = 60;
/** The same of what comes as it is spoken, or goes to a reader who may stop at any time. */
const readAheadLiveSeconds = 30;
/** Seconds at the end of speech that may be too short for a window of their own. */
const restSeconds = 0.02;

/**
 * One signal for all that can end a call: its own, the time limit, and `disposal` of the model. `end` forgets the timer
 * and the listeners: the model's signal lives on, and AbortSignal.any would gather one more for each call.
 */
export function limited(
  { signal, timeout }: Pick<TranscribeOptions, 'signal' | 'timeout'>,
  disposal: AbortSignal,
): { signal: AbortSignal; end: () => void } {
  const controller = new AbortController();
  const sources = signal ? [signal, disposal] : [disposal];
  const stop = ({ target }: Event) => controller.abort((target as AbortSignal).reason);
  for (const source of sources) {
    if (source.aborted) controller.abort(source.reason);
    source.addEventListener('abort', stop);
  }
  const late = () =>
    controller.abort(
      new OneheadError(
        'TIMED_OUT',
        `The transcription took longer than ${timeout} ms; allow more time or use a smaller model.`,
      ),
    );
  const timer = typeof timeout === 'number' ? setTimeout(late, Math.min(timeout, 2 ** 31 - 1)) : undefined;
  const end = () => {
    clearTimeout(timer);
    for (const source of sources) source.removeEventListener('abort', stop);
  };
  return { signal: controller.signal, end };
}

const nothingHeard = () =>
  new OneheadError('AUDIO_INVALID', 'The audio contains no samples; give a recording with sound in it.');

/** The part of the recording that is decoded. */
function selectClips(
  { model, options: { clips } }: TranscriptionState,
  source: AudioSource,
): AudioSource & Partial<PiecedSource> {
  const { sampleRate, hop } = model.checkpoint.preprocessor;
  return clips === undefined ? source : new ClipSource(source, clips, sampleRate, hop);
}

/** A recording as it was opened: its channels mixed, or each by itself. */
export type Recording = AudioSource | Source<Float32Array[]>;

/** Outcomes of a recording, which was opened as the options say. */
function outcomesOf(job: TranscriptionState, source: Recording, live: boolean): AsyncGenerator<Outcome> {
  if (job.options.channels !== 'separate') return outcomes(job, source as AudioSource, live);
  return channelOutcomes(job, source as Source<Float32Array[]>, (own, channel) => outcomes(own, channel, live));
}

/** Outcomes in order. `live`: nothing is waited for that is not needed, since the audio may come as it is spoken. */
async function* outcomes(job: TranscriptionState, recording: AudioSource, live: boolean): AsyncGenerator<Outcome> {
  const { model, options } = job;
  const source = selectClips(job, recording);
  job.total = source.duration;
  const { sampleRate } = model.checkpoint.preprocessor;
  const inBatches = options.batched ?? model.batched;
  const wanted = options.vad ?? inBatches;
  const vad = wanted === true ? {} : wanted || null;
  const speech = vad ? await SpeechSource.open(source, sampleRate, vad, inBatches) : null;
  const back = (seconds: number, isEnd: boolean) =>
    source.toRecording?.(seconds, isEnd) ?? seconds + (source.startTime ?? 0);
  job.builder.toRecording = (seconds, isEnd) => back(speech ? speech.toRecording(seconds, isEnd) : seconds, isEnd);
  job.known = (processed) => {
    if (!speech) return processed;
    // If no speech waits to be decoded, everything is known up to where silence was heard.
    const last = speech.pieces.at(-1);
    const waits = last !== undefined && back((last.begin + last.length) / sampleRate, true) > processed + restSeconds;
    return waits ? processed : Math.max(processed, back(speech.settled / sampleRate, true));
  };
  const ahead = live ? readAheadLiveSeconds : readAheadSeconds;
  const chunks = readAhead((speech ?? source).chunks(), ahead * sampleRate, ({ length }) => length);
  const samples = new SampleWindow(chunks);
  try {
    const heard = () => source.heard ?? speech?.heard ?? samples.end;
    const lasted = () => round(heard() / sampleRate + (source.startTime ?? 0));
    const breaks = (speech ?? source).breaks ?? [];
    const windows = inBatches
      ? batched(job, samples, speech, breaks)
      : sequential(job, samples, breaks, options.lookAhead ?? (live ? 0 : lookAheadSeconds));
    for await (const outcome of windows) {
      job.duration = lasted();
      job.hear(source);
      yield outcome;
    }
    job.hear(source);
    if (heard() === 0) throw nothingHeard();
    job.duration = lasted();
    if (samples.failure) throw samples.failure;
  } finally {
    // The source first: a reading that waits for more ends with it.
    await source.close();
    await chunks.return(undefined).catch(() => {});
    samples.release();
    await speech?.release();
  }
}

/** OpenAI's verbose_json of a recording. */
export async function transcribe(
  job: TranscriptionState,
  source: Recording,
): Promise<Transcription & { timings: Timings }> {
  for await (const { segments, processed } of outcomesOf(job, source, false)) {
    job.finished.push(...segments);
    job.options.onProgress?.({ processed, total: job.total, segments });
  }
  return { ...resultOf(job, source), timings: job.times.total };
}

/** The finished part of a job. */
export function resultOf(job: TranscriptionState, { tracks = [] }: Recording): Transcription {
  return {
    task: job.settings.task,
    language: job.language ?? 'en',
    duration: job.duration,
    text: job.finished.map(({ text }) => text).join(''),
    segments: job.finished,
    ...(tracks.length > 1 && { tracks: [...tracks] }),
    ...(job.omitted.length > 0 && { omitted: [...job.omitted] }),
    warnings: [...job.warnings.sentences],
    incomplete: job.warnings.incomplete,
  };
}

/** The language of a recording's beginning. */
export async function detectLanguage(job: TranscriptionState, source: AudioSource): Promise<DetectedLanguage> {
  const { model } = job;
  if (!model.checkpoint.generation.multilingual) {
    throw new OneheadError('NOT_SUPPORTED', 'This model writes English only and cannot detect languages.');
  }
  const samples = new SampleWindow(source.chunks());
  const probabilities = await detectFirst(job, samples, new PeakMeter(model, samples)).finally(() => samples.release());
  if (!probabilities) throw nothingHeard();
  const [language, probability] = likeliestLanguage(probabilities);
  return { language, probability, probabilities: Object.fromEntries(probabilities) };
}

/** The segments of a recording as they are ready. */
export async function* stream(job: TranscriptionState, source: Recording): AsyncGenerator<Segment> {
  for await (const { segments, processed } of outcomesOf(job, source, true)) {
    job.options.onProgress?.({ processed, total: job.total, segments });
    yield* segments;
  }
}
