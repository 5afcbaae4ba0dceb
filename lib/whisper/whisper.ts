import { type AudioInput, type AudioOptions, type AudioSource, openAudio, openChannels } from '../audio/index.js';
import { WhisperModel } from './decoding/whisper-model.js';
import type { LoadOptions } from './model/types.js';
import type { Timings } from './transcription/job.js';
import { detectLanguage, limited, type Recording, stream, transcribe } from './transcription/transcribe.js';
import type { DetectedLanguage, Segment, TranscribeOptions, Transcription } from './transcription/types.js';

/** Speech to text: a loaded model with everything around it. */
export class Whisper {
  /** The model underneath, for those who want features, encoder output, logits or token ids. */
  readonly model: WhisperModel;

  private constructor(model: WhisperModel) {
    this.model = model;
  }

  /**
   * Loads a checkpoint: a folder, a hub name ('openai/whisper-tiny'), or the bundled model when none is named. The bundled one is for
   * trying and testing: it knows 1,241 words of synthesized English.
   */
  static async load(nameOrDirectory?: string, options: LoadOptions = {}): Promise<Whisper> {
    const model = await WhisperModel.load(nameOrDirectory, options);
    try {
      await model.checkpoint.tokenizer(); // what is wrong with it is said now, not at the first request
      return new Whisper(model);
    } catch (error) {
      model.dispose();
      throw error;
    }
  }

  /**
   * Transcribes audio of any length and format: a path, encoded bytes, a stream of them, or samples. Gives OpenAI's verbose_json shape,
   * and the milliseconds of each stage. An aborted `signal` rejects with its reason within one decode step, a `timeout` with code
   * TIMED_OUT. A stream is read as far as is needed and left to its owner, who can still answer a request; only `signal` destroys it.
   */
  async transcribe(audio: AudioInput, options: TranscribeOptions = {}): Promise<Transcription & { timings: Timings }> {
    const { signal, end } = limited(options);
    try {
      signal?.throwIfAborted();
      const source = await this.#record(audio, options, signal);
      try {
        return await transcribe(this.model, source, { ...options, signal });
      } finally {
        await source.close();
      }
    } finally {
      end();
    }
  }

  /**
   * Yields segments as they are ready: from a file, a stream, or a microphone's pipe, of which no more is waited for than one window. After
   * \`break\` nothing is read further, and a stream is its owner's again.
   */
  async *stream(audio: AudioInput, options: TranscribeOptions = {}): AsyncGenerator<Segment, void> {
    const { signal, end } = limited(options);
    try {
      signal?.throwIfAborted();
      const source = await this.#record(audio, options, signal);
      try {
        yield* stream(this.model, source, { ...options, signal });
      } finally {
        await source.close();
      }
    } finally {
      end();
    }
  }

  /** The language of a recording, from up to five windows of its beginning (`languageDetectionWindows`). NOT_SUPPORTED for an English-only model. */
  async detectLanguage(
    audio: AudioInput,
    options: AudioOptions &
      Pick<TranscribeOptions, 'languageDetectionWindows' | 'languageDetectionThreshold' | 'signal' | 'timeout'> = {},
  ): Promise<DetectedLanguage> {
    const { signal, end } = limited(options);
    try {
      signal?.throwIfAborted();
      const source = await this.#open(audio, options, signal);
      try {
        return await detectLanguage(this.model, source, { ...options, signal });
      } finally {
        await source.close();
      }
    } finally {
      end();
    }
  }

  /** `signal` ends the reading, at the time limit too; only the caller's own destroys a stream. */
  #open(
    audio: AudioInput,
    options: AudioOptions & { signal?: AbortSignal },
    signal?: AbortSignal,
  ): Promise<AudioSource> {
    const { sampleRate } = this.model.checkpoint.preprocessor;
    return openAudio(audio, { ...options, sampleRate, signal }, options.signal ?? null);
  }

  /** The same; each channel by itself where that is asked for. */
  #record(audio: AudioInput, options: TranscribeOptions, signal?: AbortSignal): Promise<Recording> {
    if (options.channels !== 'separate') return this.#open(audio, options, signal);
    const { sampleRate } = this.model.checkpoint.preprocessor;
    return openChannels(audio, { ...options, sampleRate, signal }, options.signal ?? null);
  }

  /** Frees the model. Transcriptions under way are rejected. */
  dispose(): void {
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
