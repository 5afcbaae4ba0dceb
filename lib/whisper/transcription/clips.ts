/** Transcribes only parts of a recording: openai/whisper's clip_timestamps. */
import type { AudioSource } from '../../audio/index.js';
import { type Piece, type PiecedSource, recordingPosition } from '../../audio/pieces.js';
import { refuse } from '../../checks.js';
import type { Clip } from './types.js';

/** A clip's samples. */
interface Range {
  begin: number;
  end: number;
}

/**
 * Returns the clips in samples, as whole frames of `hop` samples, as in openai/whisper. Throws OneheadError
 * INVALID_ARGUMENT unless they are in order, do not overlap and are at least a frame long.
 */
export function clipRanges(clips: readonly Clip[], sampleRate: number, hop: number): Range[] {
  const list: unknown = clips;
  if (!Array.isArray(list) || list.length === 0) {
    refuse('clips', 'a list of at least one { start, end }', list);
  }
  const samplesOf = (argument: string, seconds: unknown): number => {
    const isValid = typeof seconds === 'number' && Number.isFinite(seconds) && seconds >= 0;
    if (!isValid) refuse(argument, 'seconds from 0 on', seconds);
    return Math.round((seconds * sampleRate) / hop) * hop;
  };
  let previousEnd = 0;
  return list.map((clip: Partial<Clip> | null, index) => {
    const name = `clips[${index}]`;
    if (typeof clip !== 'object' || clip === null) refuse(name, 'an object { start, end }', clip);
    const begin = samplesOf(`${name}.start`, clip.start);
    if (begin < previousEnd) refuse(`${name}.start`, 'no earlier than the end of the clip before', clip.start);
    const isOpen = clip.end === undefined || clip.end === null;
    if (isOpen && index < list.length - 1) {
      refuse(`${name}.end`, 'a number, since only the last clip may have no end,', clip.end);
    }
    const end = isOpen ? Number.POSITIVE_INFINITY : samplesOf(`${name}.end`, clip.end);
    if (end <= begin) refuse(`${name}.end`, `at least ${hop / sampleRate} s after its start`, clip.end);
    previousEnd = end;
    return { begin, end };
  });
}

export class ClipSource implements PiecedSource {
  readonly duration: number | null;
  readonly breaks: number[] = [];
  readonly #source: AudioSource;
  readonly #sampleRate: number;
  readonly #ranges: readonly Range[];
  readonly #pieces: Piece[] = [];
  readonly #warnings: string[] = [];
  #position = 0;

  /** `sampleRate` is that of the source. Throws OneheadError INVALID_ARGUMENT. */
  constructor(source: AudioSource, clips: readonly Clip[], sampleRate: number, hop: number) {
    this.#source = source;
    this.#sampleRate = sampleRate;
    this.#ranges = clipRanges(clips, sampleRate, hop);
    const end = this.#ranges[this.#ranges.length - 1].end / sampleRate;
    this.duration = source.duration === null ? null : Math.min(source.duration, end);
  }

  get position(): number {
    return this.#position;
  }
  get warnings(): readonly string[] {
    return [...this.#source.warnings, ...this.#warnings];
  }
  get incomplete(): boolean {
    return this.#source.incomplete;
  }

  toRecording(seconds: number, isEnd: boolean): number {
    return recordingPosition(this.#pieces, seconds * this.#sampleRate, isEnd) / this.#sampleRate;
  }

  /** Yields the samples of the clips. No chunk has samples of two clips. Nothing is read after the last clip. */
  async *chunks(): AsyncGenerator<Float32Array> {
    const ranges = this.#ranges;
    let index = 0;
    let isFirst = true;
    for await (const chunk of this.#source.chunks()) {
      // Clips have times of the file, whose audio may start late.
      if (isFirst) this.#position = Math.round((this.#source.startTime ?? 0) * this.#sampleRate);
      isFirst = false;
      const chunkBegin = this.#position;
      const end = chunkBegin + chunk.length;
      this.#position = Math.min(end, ranges[ranges.length - 1].end);
      for (; index < ranges.length && ranges[index].begin < end; ++index) {
        const from = Math.max(ranges[index].begin, chunkBegin);
        const to = Math.min(ranges[index].end, end);
        this.#addPiece(from, to, from === ranges[index].begin);
        yield chunk.subarray(from - chunkBegin, to - chunkBegin);
        if (ranges[index].end > end) break;
      }
      if (index === ranges.length) return;
    }
    const missed = ranges.slice(index).filter(({ begin }) => begin >= this.#position);
    if (missed.length === 0) return;
    const time = (samples: number) => `${Number((samples / this.#sampleRate).toFixed(2))} s`;
    const [subject, pronoun] =
      missed.length === 1 ? ['A clip begins', 'it has'] : [`${missed.length} clips begin`, 'they have'];
    this.#warnings.push(
      `${subject} at ${time(missed[0].begin)} or later, but the recording ends at ${time(this.#position)}; ${pronoun} no text.`,
    );
  }

  #addPiece(begin: number, end: number, isNew: boolean): void {
    const last = this.#pieces.at(-1);
    if (last && !isNew) {
      last.length += end - begin;
      return;
    }
    const at = last ? last.at + last.length : 0;
    if (last) this.breaks.push(at);
    this.#pieces.push({ begin, at, length: end - begin });
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
