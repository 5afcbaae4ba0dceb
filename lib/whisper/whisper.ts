import { type AudioInput, type AudioSource, openAudio, openChannels } from '../audio/index.js';
import { audioOptions } from '../audio/options.js';
import { catchEarlyErrors, destroyStream } from '../audio/streams.js';
import { warmUp } from '../audio/warm.js';
import { OneheadError } from '../errors.js';
import { check, pick } from '../options/options.js';
import { workers } from '../workers/pool.js';
import { yieldTimeSlice } from '../workers/time-slices.js';
import { WhisperModel } from './decoding/whisper-model.js';
import { LiveTranscription } from './live/live.js';
import type { LiveOptions } from './live/options.js';
import type { LoadOptions } from './model/types.js';
import { TranscriptionError } from './transcription/failure.js';
import {
  type CheckedTranscribeOptions,
  checkTranscribeOptions,
  type DetectLanguageOptions,
  detectLanguageOptions,
  type TranscribeOptions,
} from './transcription/options.js';
import { TranscriptionState, windowSettings } from './transcription/state.js';
import type { Timings } from './transcription/timings.js';
import { detectLanguage, limited, type Recording, resultOf, stream, transcribe } from './transcription/transcribe.js';
import type { DetectedLanguage, Segment, Transcription } from './transcription/types.js';

/** A running call. */
interface Call {
  job: TranscriptionState;
  source: Recording;
  close(): Promise<void>;
}

/**
 * Speech to text with a loaded model. Unknown options and invalid values are refused with INVALID_ARGUMENT before
 * anything is read; null counts as absent. Disposing of the model rejects its running calls with DISPOSED.
 */
export class Whisper {
  /** The underlying model, for features, encoder output, logits or token ids. */
  readonly model: WhisperModel;

  private constructor(model: WhisperModel) {
    this.model = model;
  }

  /**
   * Loads a checkpoint: a folder, a file, a hub name ('openai/whisper-tiny'), or the bundled model by default. The
   * bundled model is for trials and tests: it knows 1,241 words of synthesized English.
   */
  static async load(nameOrDirectory?: string | null, options: LoadOptions | null = {}): Promise<Whisper> {
    // In parallel with loading, so that the first recording is decoded as fast as later ones.
    warmUp(workers);
    const model = await WhisperModel.load(nameOrDirectory, options);
    try {
      await model.checkpoint.tokenizer(); // an invalid tokenizer is reported now, not by the first request
      return new Whisper(model);
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /**
   * Transcribes audio of any length and format: a path, encoded bytes, a stream of them, or samples. Returns OpenAI's
   * verbose_json shape, and the milliseconds of each stage. An aborted `signal` rejects with its reason within one
   * decode step, a `timeout` with code TIMED_OUT. Any other error in the middle of a recording is a TranscriptionError,
   * whose `partial` has the finished segments. A stream is read as far as needed and is not closed, so that a request
   * can still be answered; only `signal` destroys it.
   */
  async transcribe(
    audio: AudioInput,
    options: TranscribeOptions | null = {},
  ): Promise<Transcription & { timings: Timings }> {
    const checked = checkTranscribeOptions(options);
    const { job, source, close } = await this.#begin(audio, checked);
    try {
      return await transcribe(job, source);
    } catch (error) {
      const aborted = checked.signal?.aborted && error === checked.signal.reason;
      if (!(error instanceof OneheadError) || aborted || job.finished.length === 0) throw error;
      throw new TranscriptionError(error, resultOf(job, source));
    } finally {
      await close();
    }
  }

  /**
   * Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED for options that `transcribe` would refuse, whatever the
   * recording.
   *
   * @internal
   */
  async checkOptions(options: TranscribeOptions | null = {}): Promise<void> {
    await windowSettings(this.model, checkTranscribeOptions(options));
  }

  /**
   * Yields segments as they are decoded: from a file, a stream, or a microphone's pipe, which is read at most one
   * window ahead. After `break` nothing more is read, the windows under way are aborted, and the stream is
   * not closed.
   */
  async *stream(audio: AudioInput, options: TranscribeOptions | null = {}): AsyncGenerator<Segment, void> {
    const { job, source, close } = await this.#begin(audio, checkTranscribeOptions(options));
    try {
      yield* stream(job, source);
    } finally {
      await close();
    }
  }

  /**
   * Opens a live stream: samples are pushed in real time, and events deliver confirmed text. It has the priority
   * 'live', before all other requests. Throws INVALID_ARGUMENT, NOT_SUPPORTED or BUSY before any audio arrives.
   */
  live(options: LiveOptions | null = {}): Promise<LiveTranscription> {
    return LiveTranscription.open(this.model, options);
  }

  /**
   * Detects the language of a recording from up to five windows at its start (`languageDetectionWindows`). Throws
   * NOT_SUPPORTED for an English-only model.
   */
  async detectLanguage(audio: AudioInput, options: DetectLanguageOptions | null = {}): Promise<DetectedLanguage> {
    const checked = check(detectLanguageOptions, options);
    // The language is that of all channels together, even if they are transcribed separately.
    const channels = checked.channels === 'separate' ? 'mix' : checked.channels;
    const all = checkTranscribeOptions({ ...checked, channels, language: 'auto' });
    const { job, source, close } = await this.#begin(audio, all);
    try {
      return await detectLanguage(job, source as AudioSource);
    } finally {
      await close();
    }
  }

  /**
   * Checks the options against the model and opens the audio. Reading ends with the caller's signal, the time limit or
   * the model's disposal; only the first destroys a stream.
   */
  async #begin(audio: AudioInput, options: CheckedTranscribeOptions): Promise<Call> {
    const forget = catchEarlyErrors(audio);
    const { signal, stop, end } = limited(options, this.model.disposal);
    let job: TranscriptionState | undefined;
    try {
      // Calls that arrive together take turns from the start.
      await yieldTimeSlice();
      signal.throwIfAborted();
      job = await TranscriptionState.open(this.model, { ...options, signal });
      job.stop = stop;
      const { request } = job;
      const { sampleRate } = this.model.checkpoint.preprocessor;
      const reading = { ...pick(audioOptions, job.options), sampleRate, signal };
      const open: typeof openAudio | typeof openChannels =
        job.options.channels === 'separate' ? openChannels : openAudio;
      const source: Recording = await open(audio, reading, options.signal ?? null);
      const close = async () => {
        end();
        request.close();
        await source.close();
        forget();
      };
      return { job, source, close };
    } catch (error) {
      end();
      job?.request.close();
      // Once it is open, its reader does this.
      if (options.signal?.aborted) destroyStream(audio);
      forget();
      throw error;
    }
  }

  /** Metrics of the engines: waiting requests, rows in use, steps, device time and host time. */
  figures(): ReturnType<WhisperModel['figures']> {
    return this.model.figures();
  }

  /** Releases the model. Running calls are rejected with code DISPOSED. */
  dispose(): void {
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
