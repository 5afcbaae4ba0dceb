/** Measures the loudest sound so far, by which features are normalized. */
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { SampleWindow } from './samples.js';

export class PeakMeter {
  readonly #model: WhisperModel;
  readonly #samples: SampleWindow;
  readonly #border: number;
  readonly #length: number;
  #measured = 0;
  /** The highest log10 power so far. */
  peak = Number.NEGATIVE_INFINITY;

  constructor(model: WhisperModel, samples: SampleWindow) {
    const { fftSize, samples: length } = model.checkpoint.preprocessor;
    this.#model = model;
    this.#samples = samples;
    this.#border = fftSize / 2;
    this.#length = length;
  }

  /** The number of samples that have been measured. */
  get measured(): number {
    return this.#measured;
  }

  /** Measures samples that were read since the last call: complete windows only, unless the recording has ended. */
  async measure(signal?: AbortSignal): Promise<void> {
    const samples = this.#samples;
    for (;;) {
      const isComplete = this.#measured + this.#length + this.#border <= samples.end;
      if (!isComplete && !(samples.ended && this.#measured < samples.end)) return;
      const begin = this.#measured - this.#border;
      signal?.throwIfAborted();
      this.peak = await this.#model.buffers.use((window) => {
        samples.fill(window, begin);
        return this.#model.measurePeak(window, this.peak);
      });
      this.#measured += this.#length;
    }
  }
}
