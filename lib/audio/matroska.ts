/**
 * WebM and Matroska: decodes the first audio track; damaged parts become silence of the length that block times imply.
 */
import { shown } from '../errors.js';
import { type FallbackDecoder, NoDecoder } from './aac-decoders.js';
import { flacInfo } from './flac-frames.js';
import { openAacFrames, openFlac, openMp3, openOpus, openPcm, openVorbis, type PacketDecoder } from './packets.js';
import type { ByteReader } from './reader.js';
import { Segment, type Sound, type Track } from './segment.js';
import { maxGapSeconds, type Timeline } from './timeline.js';
import type { DecodedChunk } from './wav.js';

/** Vorbis's three headers, which are preceded by their lengths. */
function vorbisHeaders(bytes: Uint8Array): Uint8Array[] {
  const sizes: number[] = [];
  let at = 1;
  for (let i = 0; i < 2; ++i) {
    let size = 0;
    do size += bytes[at] ?? 0;
    while (bytes[at++] === 255);
    sizes.push(size);
  }
  return [
    bytes.subarray(at, at + sizes[0]),
    bytes.subarray(at + sizes[0], at + sizes[0] + sizes[1]),
    bytes.subarray(at + sizes[0] + sizes[1]),
  ];
}

/** Opens the track's decoder; null for an unsupported codec. Throws NoDecoder if the decoder is not installed. */
async function open(track: Track): Promise<(PacketDecoder & { skip: number }) | null> {
  const { codec, sampleRate, channels, bits } = track;
  const skip = Math.round((track.delay * sampleRate) / 1e9);
  if (codec === 'A_OPUS') {
    const opened = await openOpus(track.private);
    return { ...opened, skip: opened.head.preSkip };
  }
  if (codec === 'A_VORBIS') {
    const [identification, , setup] = vorbisHeaders(track.private);
    if (identification.length < 30) throw new Error('its Vorbis headers are damaged');
    return { ...(await openVorbis(identification, setup)), skip };
  }
  if (codec.startsWith('A_AAC') && track.private.length >= 2) {
    return { ...(await openAacFrames({ asc: track.private }, 1024, sampleRate)), skip };
  }
  if (codec === 'A_ALAC') return { ...(await openAacFrames({ alac: track.private }, 4096, sampleRate)), skip };
  if (codec === 'A_FLAC') {
    const info = track.private.length >= 42 ? flacInfo(track.private.subarray(8)) : null;
    return { ...openFlac(info?.sampleRate || sampleRate), skip };
  }
  if (codec === 'A_MPEG/L3') return { ...(await openMp3()), skip };
  const pcm = { 'A_PCM/INT/LIT': 'little', 'A_PCM/INT/BIG': 'big', 'A_PCM/FLOAT/IEEE': 'float' } as const;
  const kind = pcm[codec as keyof typeof pcm];
  return kind && openPcm(kind, bits) && { ...openPcm(kind, bits)!(channels, sampleRate), skip };
}

/** Each element with the one after it. */
async function* withNext<T>(all: AsyncGenerator<T>): AsyncGenerator<[T, T | null]> {
  let held: T[] = [];
  for await (const one of all) {
    if (held.length > 0) yield [held[0], one];
    held = [one];
  }
  if (held.length > 0) yield [held[0], null];
}

/** Seconds by which block times may deviate: they are in milliseconds. */
const tolerance = 0.03;

/** Judges block times by their plausibility. */
class Clock {
  /** Seconds at which the last block ended; null before the first. */
  #end: number | null = null;
  /** True if no cluster has stated its time since the last damage. */
  #uncertain = false;

  /**
   * Takes a block that lasts `seconds`. Returns the seconds missing before it: a jump in time counts if damage explains
   * it and the next block confirms it.
   */
  missing(sound: Sound, seconds: number, next: Sound | null, duration: number | null): number {
    const { time, damaged, dated } = sound;
    const from = this.#end ?? (damaged ? 0 : time);
    const jump = time - from;
    const agreed = next === null || Math.abs(next.time - time - seconds) <= tolerance + seconds;
    const explained = damaged || (this.#uncertain && dated);
    if (dated) this.#uncertain = false;
    else if (damaged) this.#uncertain = true;
    if (Math.abs(jump) <= (explained ? 0.005 : tolerance)) {
      this.#end = time + seconds;
      return 0;
    }
    const believed = agreed && jump <= maxGapSeconds && (duration === null || time <= duration + 1);
    // Blocks after a lost cluster header count from the previous cluster.
    const backwards = jump < 0 && this.#uncertain;
    this.#end = (believed && !backwards ? time : from) + seconds;
    return believed && explained && jump > 0 ? jump : 0;
  }
}

/**
 * Decodes the first audio track. If its codec is not supported here, `otherwise` gets the bytes of the whole file and
 * decodes them. Throws if there is no audio track.
 */
export async function* decodeMatroska(
  reader: ByteReader,
  timeline: Timeline,
  otherwise: FallbackDecoder,
): AsyncGenerator<DecodedChunk> {
  const segment = new Segment(reader);
  let decoder: Awaited<ReturnType<typeof open>> = null;
  let clock = new Clock();
  let begin: number | null = null;
  let skip = 0;
  let rate = 48_000;
  reader.record();
  try {
    for await (const [sound, next] of withNext(segment.sounds())) {
      if ('private' in sound) {
        decoder?.free();
        const opened = await open(sound).catch((error: unknown) => {
          if (error instanceof NoDecoder) return error;
          throw error;
        });
        if (!opened || opened instanceof NoDecoder) {
          const reason = opened?.message ?? `its codec ${shown(sound.codec, 40)} needs ffmpeg`;
          yield* otherwise(reader.again(), reason);
          return;
        }
        decoder = opened;
        reader.forget();
        if (segment.headDamaged) timeline.lost(0, rate);
        skip = decoder.skip;
        clock = new Clock();
        continue;
      }
      if (!decoder) continue;
      begin ??= sound.damaged ? 0 : sound.time;
      const lengths = sound.frames.map(decoder.length);
      const seconds = lengths.reduce((sum, { samples, sampleRate }) => sum + samples / sampleRate, 0);
      const following = next && !('private' in next) ? next : null;
      const missing = clock.missing(sound, seconds, following, segment.duration);
      if (missing > 0 || sound.damaged) timeline.lost(Math.round(missing * rate), rate);
      for (const [i, frame] of sound.frames.entries()) {
        const chunk = await decoder.decode(frame);
        const { samples, sampleRate } = decoder.length(frame);
        rate = sampleRate;
        const length = chunk ? (chunk.channels[0]?.length ?? 0) : samples;
        const last = i === sound.frames.length - 1;
        const end = last && sound.discard > 0 ? length - Math.round((sound.discard * rate) / 1e9) : length;
        const from = Math.min(skip, length);
        skip -= from;
        if (end <= from) continue;
        if (chunk)
          timeline.add(
            chunk.channels.map((channel) => channel.subarray(from, end)),
            rate,
            chunk.speakers,
          );
        else timeline.lost(end - from, rate);
      }
      yield* timeline.drain();
    }
    if (!segment.track) throw new Error('it has no track of sound, or its list of tracks is damaged');
    if (segment.damaged) timeline.lost(0, rate);
    if (segment.cut) timeline.cut();
    yield* timeline.drain(true);
    timeline.report(segment.alone && segment.duration !== null ? segment.duration - (begin ?? 0) : null, 1);
  } finally {
    decoder?.free();
  }
}
