/** AAC in ADTS, frame by frame: channels and rates may change on the way. */
import { decoder as openDecoder } from '@audio/decode-aac';
import { adtsHeader, framesOf, loseSkipped } from './mpeg.js';
import { quiet } from './quiet.js';
import type { ByteReader } from './reader.js';
import type { Timeline } from './timeline.js';
import type { DecodedChunk } from './wav.js';

/** Samples by which the filters are late that double the rate. */
const doublingDelay = 962;

type Decoder = Awaited<ReturnType<typeof openDecoder>>;

/** Decodes the frames of a stream. */
export async function* decodeAdts(reader: ByteReader, timeline: Timeline): AsyncGenerator<DecodedChunk> {
  let decoder: Decoder | null = null;
  let kind = -1;
  let [count, bytes] = [0, 0];
  /** Frames that the decoder has not given anything for since it began. */
  let withheld = 0;
  /** Samples by which what it gives is late. */
  let late = 0;
  /** What a frame gives: the decoder may double the rate. */
  let [samples, sampleRate] = [0, 0];
  try {
    for await (const { header, bytes: frame, skipped } of framesOf(reader, adtsHeader, () => timeline.cut())) {
      if (!decoder || header.kind !== kind) {
        timeline.silence(late, sampleRate);
        decoder?.free();
        decoder = await openDecoder();
        kind = header.kind;
        [withheld, late] = [0, 0];
        [samples, sampleRate] = [0, 0];
      }
      const current: Decoder = decoder;
      const result = quiet(() => decodeFrame(current, frame));
      const got = result?.channelData[0]?.length ?? 0;
      const frameSamples = { samples: samples || header.samples, sampleRate: sampleRate || header.sampleRate };
      loseSkipped(timeline, frameSamples, skipped, count > 0 ? bytes / count : frame.length, count > 0);
      count += 1;
      bytes += frame.length;
      if (got > 0 && result) {
        if (samples === 0) {
          // The decoder keeps its first frame, which only fades in.
          sampleRate = result.sampleRate;
          samples = Math.round((header.samples * sampleRate) / header.sampleRate);
          late = sampleRate > header.sampleRate ? doublingDelay : 0;
          timeline.silence((withheld + 1) * samples - got - late, sampleRate);
          withheld = 0;
        } else if (got < samples) timeline.silence(samples - got, sampleRate);
        timeline.add(result.channelData, sampleRate);
      } else if (samples === 0) withheld += 1;
      else timeline.lost(samples, sampleRate);
      yield* timeline.drain();
    }
    timeline.silence(late, sampleRate);
    yield* timeline.drain(true);
    timeline.report();
  } finally {
    decoder?.free();
  }
}

function decodeFrame(decoder: Decoder, frame: Uint8Array) {
  try {
    return decoder.decode(frame);
  } catch {
    return null;
  }
}
