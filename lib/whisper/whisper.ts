import { type AudioInput, openAudio } from '../audio/index.js';
import { WhisperModel } from './model.js';
import type { Timings } from './job.js';
import { transcribe } from './transcribe.js';
import type { LoadOptions, TranscribeOptions, Transcription } from './types.js';

/** Speech to text: a loaded model with everything around it. */
export class Whisper {
  /** The model underneath, for those who want features, encoder output, logits or token ids. */
  readonly model: WhisperModel;

  private constructor(model: WhisperModel) {
    this.model = model;
  }

  /**
   * Loads a checkpoint: a folder, a hub name ('openai/whisper-tiny'), or the bundled model when none is named. The bundled one is for
   * trying and testing: it knows 464 words of synthesized English.
   */
  static async load(nameOrDirectory?: string, options: LoadOptions = {}): Promise<Whisper> {
    return new Whisper(await WhisperModel.load(nameOrDirectory, options));
  }

  /**
   * Transcribes audio of any length and format: a path, encoded bytes, a stream of them, or samples. Gives OpenAI's verbose_json shape,
   * and the milliseconds of each stage. An aborted `signal` rejects with its reason within one decode step.
   */
  async transcribe(audio: AudioInput, options: TranscribeOptions = {}): Promise<Transcription & { timings: Timings }> {
    options.signal?.throwIfAborted();
    const { sampleRate } = this.model.checkpoint.preprocessor;
    const source = await openAudio(audio, { sampleRate, signal: options.signal });
    try {
      return await transcribe(this.model, source, options);
    } finally {
      await source.close();
    }
  }

  /** Frees the model. Transcriptions under way are rejected. */
  dispose(): void {
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
