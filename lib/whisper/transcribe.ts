/** Long audio: windows that seek along the recording by the timestamps that the model writes, as openai/whisper does. */
import type { AudioSource } from '../audio/index.js';
import { OneheadError } from '../errors.js';
import type { WhisperModel } from './model.js';
import { checkLanguage, checkTask, checkTimestamps } from './prompt.js';
import { SampleWindow } from './samples.js';
import { compressionRatio, splitWindow, type WindowResult } from './segments.js';
import type { Segment, TranscribeOptions, Transcription } from './types.js';

/**
 * Seconds that are read ahead of the window, to know the loudest sound that features are measured against: the reference knows the
 * whole recording. Ten minutes are 38 MB; a longer recording is measured against what was heard up to ten minutes ahead.
 */
const lookAheadSeconds = 600;
/** openai/whisper's: a window is silent when this probable to be so and its text less probable than that. */
const noSpeechThreshold = 0.6;
const logProbabilityThreshold = -1;

/** Milliseconds that a transcription's stages took. */
export interface Timings {
  audio: number;
  features: number;
  encode: number;
  decode: number;
}

class PeakMeter {
  readonly #model: WhisperModel;
  readonly #samples: SampleWindow;
  readonly #border: number;
  readonly #length: number;
  #measured = 0;
  peak = Number.NEGATIVE_INFINITY;

  constructor(model: WhisperModel, samples: SampleWindow) {
    const { fftSize, samples: length } = model.checkpoint.preprocessor;
    this.#model = model;
    this.#samples = samples;
    this.#border = fftSize / 2;
    this.#length = length;
  }

  /** Measures what was read and not yet measured, in whole windows unless the recording has ended. */
  async measure(signal?: AbortSignal): Promise<void> {
    const samples = this.#samples;
    for (;;) {
      const whole = this.#measured + this.#length + this.#border <= samples.end;
      if (!whole && !(samples.ended && this.#measured < samples.end)) return;
      const begin = this.#measured - this.#border;
      this.peak = await this.#model.measurePeak((into) => samples.fill(into, begin), this.peak, signal);
      this.#measured += this.#length;
    }
  }
}

/** Transcribes a whole recording. Timings of reading the audio include waiting for a stream. */
export async function transcribe(
  model: WhisperModel,
  source: AudioSource,
  options: TranscribeOptions = {},
): Promise<Transcription & { timings: Timings }> {
  const { generation, preprocessor } = model.checkpoint;
  const { sampleRate, hop, fftSize, frames: windowFrames } = preprocessor;
  const { signal, onProgress, maxNewTokens } = options;
  const task = checkTask(options.task ?? 'transcribe', generation);
  const timestamps = checkTimestamps(
    options.timestamps ?? (generation.noTimestampsToken === null ? 'none' : 'segment'),
    generation,
  );
  let language = options.language === undefined ? undefined : checkLanguage(options.language, generation);

  const tokenizer = await model.checkpoint.tokenizer();
  const samples = new SampleWindow(source);
  const meter = new PeakMeter(model, samples);
  const timings: Timings = { audio: 0, features: 0, encode: 0, decode: 0 };
  const segments: Segment[] = [];
  const total = source.duration;

  const addSegments = (
    window: WindowResult,
    seek: number,
    result: { averageLogProbability: number; noSpeechProbability: number },
  ) => {
    const text = tokenizer.decode(window.segments.flatMap(({ tokens }) => tokens));
    const ratio = compressionRatio(text);
    const offset = (seek * hop) / sampleRate;
    const added = window.segments
      .map(({ start, end, tokens }) => ({ start, end, tokens, text: tokenizer.decode(tokens) }))
      .filter(({ start, end, text }) => start !== end && text.trim() !== '')
      .map(
        ({ start, end, tokens, text }, index): Segment => ({
          id: segments.length + index,
          seek,
          start: round(offset + start),
          end: round(offset + end),
          text,
          tokens,
          temperature: 0,
          avg_logprob: result.averageLogProbability,
          compression_ratio: ratio,
          no_speech_prob: result.noSpeechProbability,
        }),
      );
    segments.push(...added);
    return added;
  };

  for (let seek = 0; ; ) {
    signal?.throwIfAborted();
    const begin = seek * hop;
    const reading = performance.now();
    await samples.readTo(begin + lookAheadSeconds * sampleRate);
    timings.audio += performance.now() - reading;
    const measuring = performance.now();
    await meter.measure(signal);
    timings.features += performance.now() - measuring;
    const frames = Math.min(windowFrames, Math.floor((samples.end - begin) / hop));
    if (samples.end === 0) {
      throw new OneheadError('AUDIO_INVALID', 'The audio contains no samples; give a recording with sound in it.');
    }
    // The reference counts whole frames too, but a recording shorter than one frame still gets its window.
    if (frames < 1 && seek > 0) break;

    const fill = (into: Float32Array) => samples.fill(into, begin - fftSize / 2);
    const { generations, timings: stages } = await model.transcribeWindows(fill, [meter.peak], {
      language,
      task,
      timestamps,
      maxNewTokens,
      signal,
    });
    for (const stage of ['features', 'encode', 'decode'] as const) timings[stage] += stages[stage];
    const [result] = generations;
    language ??= result.language ?? undefined;

    const silent =
      result.noSpeechProbability > noSpeechThreshold && result.averageLogProbability <= logProbabilityThreshold;
    let added: Segment[] = [];
    let advance = Math.max(1, frames);
    if (!silent) {
      const split =
        timestamps === 'segment'
          ? splitWindow(result.tokens, Math.max(1, frames), generation)
          : { segments: [{ start: 0, end: (frames * hop) / sampleRate, tokens: result.tokens }], advance };
      added = addSegments(split, seek, result);
      advance = split.advance;
    }
    seek += advance;
    samples.drop(seek * hop - fftSize);
    onProgress?.({ processed: round(Math.min(seek * hop, samples.end) / sampleRate), total, segments: added });
    if (samples.ended && seek * hop + hop > samples.end) break;
  }
  return {
    task,
    language: language ?? 'en',
    duration: round(samples.end / sampleRate),
    text: segments.map(({ text }) => text).join(''),
    segments,
    timings,
  };
}

/** Seconds to the hundredth of a millisecond, without floating-point tails such as 2.9600000000000004. */
function round(seconds: number): number {
  return Math.round(seconds * 1e5) / 1e5;
}
