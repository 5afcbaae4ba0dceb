/** AAC in ADTS, frame by frame; channels and rates may change between frames. */
import { adtsHeader, framesOf, loseSkipped } from './mpeg.js';
import { openAacFrames } from './packets.js';
import type { ByteReader } from './reader.js';
import type { Timeline } from './timeline.js';
import type { DecodedChunk } from './wav.js';

/** Decodes the frames of a stream. */
export async function* decodeAdts(reader: ByteReader, timeline: Timeline): AsyncGenerator<DecodedChunk> {
  let decoder: Awaited<ReturnType<typeof openAacFrames>> | null = null;
  let kind = -1;
  let [count, bytes] = [0, 0];
  const end = () => {
    if (!decoder) return;
    const { samples, sampleRate } = decoder.tail();
    timeline.silence(samples, sampleRate);
    decoder.free();
  };
  try {
    for await (const { header, bytes: frame, skipped } of framesOf(reader, adtsHeader, () => timeline.cut())) {
      if (!decoder || header.kind !== kind) {
        end();
        decoder = await openAacFrames(undefined, header.samples, header.sampleRate);
        kind = header.kind;
      }
      loseSkipped(timeline, decoder.length(frame), skipped, count > 0 ? bytes / count : frame.length, count > 0);
      count += 1;
      bytes += frame.length;
      const chunk = await decoder.decode(frame);
      if (chunk) timeline.add(chunk.channels, chunk.sampleRate);
      else {
        const { samples, sampleRate } = decoder.length(frame);
        timeline.lost(samples, sampleRate);
      }
      yield* timeline.drain();
    }
    end();
    decoder = null;
    yield* timeline.drain(true);
    timeline.report();
  } finally {
    decoder?.free();
  }
}
