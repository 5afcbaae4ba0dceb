/** MP3, frame by frame; rates may change, and damage costs only its own frames. */
import type { MPEGDecoder } from 'mpg123-decoder';
import { type LentDecoder, mp3Decoders } from './decoders.js';
import { hasLetters } from './letters.js';
import { type FrameHeader, framesOf, loseSkipped, mp3Header } from './mpeg.js';
import type { ByteReader } from './reader.js';
import type { Timeline } from './timeline.js';
import type { DecodedChunk } from './wav.js';

/** The delay of every decoder, in samples. */
const decoderDelay = 529;

/** The metadata that the first frame may hold instead of audio. */
interface Summary {
  /** Frames that follow, 0 if unknown. */
  frames: number;
  /** Samples that the encoder added before and after the recording. */
  delay: number;
  padding: number;
}

/** The summary in the first frame (Xing, Info or VBRI), or null if the frame holds audio. */
function summaryOf(frame: Uint8Array, { samples }: FrameHeader): Summary | null {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length >= 54 && hasLetters(frame, 36, 'VBRI')) return { frames: view.getUint32(50), delay: 0, padding: 0 };
  const mono = frame[3] >> 6 === 3;
  const begin = 4 + (samples === 1152 ? (mono ? 17 : 32) : mono ? 9 : 17);
  if (!['Xing', 'Info'].some((name) => hasLetters(frame, begin, name)) || frame.length < begin + 12) return null;
  const flags = view.getUint32(begin + 4);
  const frames = flags & 1 ? view.getUint32(begin + 8) : 0;
  const encoder = begin + 8 + (flags & 1 ? 4 : 0) + (flags & 2 ? 4 : 0) + (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
  if (frame.length < encoder + 24 || !['LAME', 'Lavf', 'Lavc'].some((name) => hasLetters(frame, encoder, name))) {
    return { frames, delay: 0, padding: 0 };
  }
  const delays = (frame[encoder + 21] << 16) | (frame[encoder + 22] << 8) | frame[encoder + 23];
  return { frames, delay: (delays >> 12) + decoderDelay, padding: Math.max(0, (delays & 4095) - decoderDelay) };
}

/** Decodes the frames of a stream. */
export async function* decodeMp3(reader: ByteReader, timeline: Timeline): AsyncGenerator<DecodedChunk> {
  let decoder: LentDecoder<MPEGDecoder> | null = null;
  let summary: Summary | null = null;
  let kind = -1;
  let count = 0;
  let bytes = 0;
  /** Samples still to be skipped, and samples that may still be output. */
  let skip = 0;
  let left = Number.POSITIVE_INFINITY;
  let frameSeconds = 0;
  /** Seconds of silence inserted for frames that could not be found. */
  let absent = 0;
  try {
    for await (const { header, bytes: frame, skipped } of framesOf(reader, mp3Header, () => timeline.cut())) {
      const { samples, sampleRate } = header;
      const summarized = summaryOf(frame, header);
      if (summarized && !decoder) {
        summary = summarized;
        skip = summary.delay;
        if (summary.frames > 0) left = summary.frames * samples - (summary.padding + skip);
      }
      if (header.kind !== kind || !decoder) {
        decoder?.free();
        decoder = await mp3Decoders.borrow();
        kind = header.kind;
        frameSeconds = samples / sampleRate;
      }
      // A summary holds no audio, not even that of a concatenated file.
      if (summarized) continue;
      const before = timeline.seconds;
      loseSkipped(timeline, header, skipped, count > 0 ? bytes / count : frame.length, count > 0);
      absent += timeline.seconds - before;
      count += 1;
      bytes += frame.length;
      const result = decoder.call((current) => current.decode(frame));
      if (result.errors.length > 0) decoder.failed = true;
      const got = Math.min(result.samplesDecoded, samples);
      // The padding that the summary states is skipped, unless there are more frames than it states.
      const wanted = summary?.frames && count > summary.frames ? got : Math.min(got, skip + Math.max(0, left));
      if (got === 0) timeline.lost(samples, sampleRate);
      else if (wanted > skip) timeline.add(same(result.channelData, skip, wanted), sampleRate);
      left -= Math.max(0, wanted - skip);
      skip = Math.max(0, skip - (got || samples));
      yield* timeline.drain();
    }
    yield* timeline.drain(true);
    const missing = summary?.frames ? (summary.frames - count) * frameSeconds - absent : 0;
    timeline.report(missing > 0 ? timeline.seconds + missing : null);
  } finally {
    decoder?.free();
  }
}

/** The given part of both channels, or of one if they are equal: the decoder always returns two. */
function same(channels: Float32Array[], begin: number, end: number): Float32Array[] {
  const [left, right] = channels;
  let at = begin;
  while (at < end && left[at] === right[at]) ++at;
  return (at === end ? [left] : channels).map((channel) => channel.subarray(begin, end));
}
