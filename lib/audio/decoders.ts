/**
 * The WebAssembly decoders of FLAC, MP3 and Vorbis, used again for later recordings of the same thread. Their libraries
 * make an instance with 16 MiB of memory for each decoder: for a short clip that takes as long as decoding, and V8
 * collects garbage for almost every instance.
 *
 * A decoder that is used again gives the same samples as a new one, since its memory is made the same again, byte for
 * byte. Destroying and creating the decoder within the instance would not do: Vorbis's loses some memory each time.
 */
import type { FLACDecoder } from '@wasm-audio-decoders/flac';
import type { OggVorbisDecoder } from '@wasm-audio-decoders/ogg-vorbis';
import type { MPEGDecoder } from 'mpg123-decoder';
import { quiet } from './quiet.js';

/** Decoders of a kind that are kept without a recording. */
const maxIdle = 2;

/** Bytes of memory that are compared at once. */
const pageBytes = 1 << 14;
const clearPage = Buffer.alloc(pageBytes);
/**
 * Memory is used from its beginning on: behind this many unused pages, all are taken to be unused. What is not cleared
 * for that reason can only be memory that a decoder writes before it reads it.
 */
const unusedPages = 64;

/** The internal state of the libraries: all of it is in the memory, apart from `_firstPage` of Vorbis. */
interface Core {
  _common?: { wasm?: { HEAP?: unknown } };
}

/** The memory of a decoder; empty if this version of its library keeps it elsewhere. */
function memoryOf(core: unknown): Buffer {
  const heap = (core as Core | undefined)?._common?.wasm?.HEAP;
  return heap instanceof ArrayBuffer ? Buffer.from(heap) : Buffer.alloc(0);
}

interface Instance<T> {
  decoder: T;
  /** Empty if it cannot be made that of a new decoder. */
  memory: Buffer;
}

/** A decoder, lent to one recording. */
export class LentDecoder<T> {
  readonly #decoder: T;
  #giveBack: ((failed: boolean) => void) | null;
  /** It met an error, and is not used again: its instance is collected with its memory. */
  failed = false;

  constructor(decoder: T, giveBack: (failed: boolean) => void) {
    this.#decoder = decoder;
    this.#giveBack = giveBack;
  }

  /** Calls the decoder, without console output. */
  call<R>(work: (decoder: T) => R): R {
    try {
      return quiet(() => work(this.#decoder));
    } catch (error) {
      this.failed = true;
      throw error;
    }
  }

  free(): void {
    this.#giveBack?.(this.failed);
    this.#giveBack = null;
  }
}

/** The decoders of one library. */
export class Decoders<T> {
  readonly #create: () => Promise<T>;
  readonly #core: (decoder: T) => unknown;
  readonly #idle: Instance<T>[] = [];
  /** The used part of the memory of a new decoder. */
  #initial: Buffer | null = null;

  /** `core` returns the object that holds the memory, and resets what is not in it. */
  constructor(create: () => Promise<T>, core: (decoder: T) => unknown) {
    this.#create = create;
    this.#core = core;
  }

  async borrow(): Promise<LentDecoder<T>> {
    const instance = this.#idle.pop() ?? (await this.#new());
    return new LentDecoder(instance.decoder, (failed) => {
      if (!failed && this.#idle.length < maxIdle && this.#restore(instance)) this.#idle.push(instance);
    });
  }

  async #new(): Promise<Instance<T>> {
    const decoder = await this.#create();
    const memory = memoryOf(this.#core(decoder));
    if (!this.#initial) {
      let end = memory.length;
      while (end > 0 && memory.compare(clearPage, 0, pageBytes, end - pageBytes, end) === 0) end -= pageBytes;
      this.#initial = Buffer.from(memory.subarray(0, end));
    }
    const alike = this.#initial.compare(memory, 0, this.#initial.length) === 0;
    return { decoder, memory: alike ? memory : Buffer.alloc(0) };
  }

  /** Makes the memory that of a new decoder; false if it cannot be, or if the instance has another one now. */
  #restore({ decoder, memory }: Instance<T>): boolean {
    if (memory.length === 0 || memory.buffer !== memoryOf(this.#core(decoder)).buffer) return false;
    const initial = this.#initial!;
    // What is the same already is not written: pages that were never written take no memory of the system.
    for (let at = 0, unused = 0; at < memory.length && unused < unusedPages; at += pageBytes) {
      const [page, from] = at < initial.length ? [initial, at] : [clearPage, 0];
      if (memory.compare(page, from, from + pageBytes, at, at + pageBytes) !== 0) {
        page.copy(memory, at, from, from + pageBytes);
        unused = 0;
      } else if (at >= initial.length) unused += 1;
    }
    return true;
  }
}

export const flacDecoders = new Decoders(
  async (): Promise<FLACDecoder> => {
    const { FLACDecoder: Decoder } = await import('@wasm-audio-decoders/flac');
    const decoder = new Decoder();
    await decoder.ready;
    return decoder;
  },
  (decoder) => (decoder as unknown as { _decoder?: Core })._decoder,
);

/** MP3, without the library's own gapless handling. */
export const mp3Decoders = new Decoders(
  async (): Promise<MPEGDecoder> => {
    const { MPEGDecoder: Decoder } = await import('mpg123-decoder');
    const decoder = new Decoder({ enableGapless: false });
    await decoder.ready;
    return decoder;
  },
  (decoder) => decoder,
);

/** The internal interface of `@wasm-audio-decoders/ogg-vorbis`: its public one accepts only whole Ogg streams. */
interface VorbisCore extends Core {
  _firstPage?: boolean;
  sendSetupHeader(packet: Uint8Array): void;
  initDsp(): void;
  decodePackets(packets: Uint8Array[]): { channelData: Float32Array[]; samplesDecoded: number; sampleRate: number };
}

/** The decoder of Vorbis packets. */
export const vorbisCore = (decoder: OggVorbisDecoder): VorbisCore =>
  (decoder as unknown as { _decoder: VorbisCore })._decoder;

export const vorbisDecoders = new Decoders(
  async (): Promise<OggVorbisDecoder> => {
    const { OggVorbisDecoder: Decoder } = await import('@wasm-audio-decoders/ogg-vorbis');
    const decoder = new Decoder();
    await decoder.ready;
    return decoder;
  },
  (decoder) => {
    const core = vorbisCore(decoder);
    if (core._firstPage === undefined) return undefined;
    core._firstPage = true;
    return core;
  },
);
