/** Encodes windows into their slots: features, encoder output, and the cross-attention cache. */
import type { Slot, Work } from '../../engine/runtime.js';
import { handled } from './handled.js';
import type { RuntimeParts, RuntimePrograms } from './programs.js';
import type { ModelWindow } from './search.js';
import { WrittenSamples } from './written-samples.js';

type SampledWindow = Extract<ModelWindow, { samples: unknown }>;

/** True if a window can be encoded together with others. */
const isPlain = (window: ModelWindow): boolean => !('encoded' in window) && window.soundFrames === undefined;

export class WindowEncoder {
  /** What the tensor of samples holds. */
  readonly samples = new WrittenSamples();
  readonly #parts: RuntimeParts;
  readonly #programs: RuntimePrograms;

  constructor(parts: RuntimeParts, programs: RuntimePrograms) {
    this.#parts = parts;
    this.#programs = programs;
  }

  /** Adds the submitted work to `done`. */
  submit(windows: readonly { window: ModelWindow; slot: Slot }[], done: Promise<Work>[]): void {
    for (let index = 0; index < windows.length; ) {
      const { window, slot } = windows[index];
      if ('encoded' in window) {
        done.push(this.#project(window, slot));
        index += 1;
        continue;
      }
      if (window.soundFrames !== undefined) {
        this.#encodePadded(window, window.soundFrames, slot, done);
        index += 1;
        continue;
      }
      // Batches are powers of two, so that few programs suffice. A padded window would cost as much as a real one.
      const next = windows.slice(index).findIndex(({ window: other }) => !isPlain(other));
      const together = next < 0 ? windows.length - index : next;
      const size = 2 ** Math.floor(Math.log2(Math.min(together, this.#parts.encodeBatch)));
      done.push(this.#encodeSamples(windows.slice(index, index + size), slot.positions));
      index += size;
    }
  }

  #encodeSamples(
    windows: readonly { window: ModelWindow; slot: Slot }[],
    positions: number,
  ): Promise<{ elapsed: number }> {
    const { samples, peaks, begins, program } = this.#programs.encode(windows.length, positions);
    const length = samples.shape[1];
    const inputs = windows.map(({ window }) => window as SampledWindow);
    const needed = this.samples.needed(inputs, length);
    const { done } = program.submit({
      writes: [
        ...needed.map((part, i) => [samples, part, i * length] as const),
        [peaks, Float32Array.from(inputs, ({ peak }) => peak)],
        [begins, Int32Array.from(windows, ({ slot }) => slot.begin)],
      ],
    });
    return done;
  }

  /** Encodes a window whose features after the first `soundFrames` frames are zeros. */
  #encodePadded(window: SampledWindow, soundFrames: number, slot: Slot, done: Promise<Work>[]): void {
    const { samples, peaks, program: frontEnd } = this.#programs.features();
    const { features, begins, program } = this.#programs.encodeFeatures();
    const [, mels, frames] = features.shape;
    const [needed] = this.samples.needed([window], samples.shape[1]);
    const computed = frontEnd.submit({
      writes: [
        [samples, needed],
        [peaks, Float32Array.of(window.peak)],
      ],
    });
    done.push(computed.done);
    const zeros = new Float32Array(Math.max(0, frames - soundFrames));
    const padding = zeros.length === 0 ? [] : Array.from({ length: mels }, (_, mel) => (mel + 1) * frames);
    const encoded = program.submit({
      writes: [
        ...padding.map((end) => [features, zeros, end - zeros.length] as const),
        [begins, Int32Array.of(slot.begin)],
      ],
    });
    done.push(encoded.done);
  }

  #project({ encoded, index }: Extract<ModelWindow, { encoded: unknown }>, slot: Slot): Promise<Work> {
    const { encoded: input } = this.#programs.encoder(1);
    const { begins, program } = this.#programs.project(input);
    const range = { fromElement: index * input.size, count: input.size };
    const copied = handled(this.#parts.device.copy(encoded, input, range));
    const { done } = program.submit({ writes: [[begins, Int32Array.of(slot.begin)]] });
    return Promise.all([done, copied]).then(([work]) => work);
  }
}
