/** The audio of an MP4 file, frame by frame; frames that cannot be decoded become silence. */
import { mp4Decoder } from './aac-decoders.js';
import { Damage } from './mp4-tables.js';
import { type Place, type Sound, takeSound } from './mp4-tracks.js';
import { openFlac, type PacketDecoder } from './packets.js';
import { quiet } from './quiet.js';
import type { Timeline } from './timeline.js';
import type { DecodedChunk } from './wav.js';

interface Decoded {
  channelData: Float32Array[];
  sampleRate: number;
}

/** The track's decoder, which the library keeps in `codec`. */
interface Codec {
  feed(frames: Uint8Array[]): Decoded;
}

/** The parts of the library's state that are used here: `st` has the next frame. */
interface Mp4Decoder {
  codec: Codec | null;
  st?: { idx: number; sizes: number[] } | null;
  /** The same of a fragmented file. */
  fr?: { qi: number; queue: Place[] } | null;
  decode(bytes: Uint8Array): Decoded | Promise<Decoded>;
  flush(): Decoded | Promise<Decoded>;
  free(): void;
}

/** Frames without output that the end of a recording may have: the encoder's padding. */
const maxPadding = 4;

/** Passes frames to a codec one at a time, and counts those without output. */
class Frames {
  readonly #timeline: Timeline;
  readonly #codec: Codec;
  /** Samples of a frame and their rate; 0 before the first. */
  samples = 0;
  sampleRate = 0;
  /** Frames without output since the last one with output. */
  #empty = 0;
  readonly #flac: PacketDecoder | null;
  #waiting: Uint8Array[] = [];

  constructor(codec: Codec, sound: Sound | null, timeline: Timeline) {
    // A copy: the library's own `feed` is replaced.
    this.#codec = { feed: codec.feed.bind(codec) };
    this.#timeline = timeline;
    // The library reads FLAC as a stream: the output is a frame late, and ends at the first damage.
    this.#flac = sound?.codec === 'fLaC' ? openFlac(sound.sampleRate || 44_100) : null;
  }

  feed(frames: Uint8Array[]): void {
    if (this.#flac) {
      for (const frame of frames) this.#waiting.push(frame);
      return;
    }
    // Uncompressed samples are frames of a few bytes, thousands at once.
    const tiny = frames[0].length <= 32 && frames.every(({ length }) => length === frames[0].length);
    if (tiny) this.#one(frames);
    else for (const frame of frames) this.#one([frame]);
  }

  #one(frames: Uint8Array[]): void {
    let decoded: Decoded | null = null;
    try {
      decoded = quiet(() => this.#codec.feed(frames));
    } catch {
      // Counted below, as a frame without output.
    }
    const count = decoded?.channelData[0]?.length ?? 0;
    if (!decoded || count === 0) {
      this.#empty += frames.length;
      return;
    }
    // The beginning has frames that the encoder added.
    if (this.samples > 0) this.#lose();
    this.#empty = 0;
    this.samples = Math.max(this.samples, Math.round(count / frames.length));
    this.sampleRate = decoded.sampleRate;
    this.#timeline.add(decoded.channelData, decoded.sampleRate);
  }

  /** Decodes frames of FLAC that were passed. */
  async settle(): Promise<void> {
    const flac = this.#flac;
    if (!flac) return;
    const frames = this.#waiting;
    this.#waiting = [];
    for (const frame of frames) {
      const chunk = await flac.decode(frame);
      const { samples, sampleRate } = flac.length(frame);
      this.samples = samples;
      this.sampleRate = sampleRate;
      if (chunk) this.#timeline.add(chunk.channels, sampleRate, chunk.speakers);
      else this.#timeline.lost(samples, sampleRate);
    }
  }

  free(): void {
    this.#flac?.free();
  }

  #lose(): void {
    if (this.#empty > 0) this.#timeline.lost(this.#empty * this.samples, this.sampleRate);
    this.#empty = 0;
  }

  end(): void {
    if (this.samples > 0 && this.#empty > maxPadding) this.#lose();
  }
}

/** Decodes an MP4 file whose index comes first. */
export async function* decodeMp4(bytes: AsyncIterable<Uint8Array>, timeline: Timeline): AsyncGenerator<DecodedChunk> {
  const { decoder: open } = await mp4Decoder();
  const decoder = (await open()) as unknown as Mp4Decoder;
  let frames: Frames | null = null;
  let codec: Codec | null = null;
  let sound: Sound | null = null;
  Object.defineProperty(decoder, 'codec', {
    get: () => codec,
    set: (given: Codec | null) => {
      codec = given;
      if (!given) return;
      const own = new Frames(given, sound, timeline);
      frames = own;
      given.feed = (all) => {
        own.feed(all);
        return { channelData: [], sampleRate: 0 };
      };
    },
  });
  let fragments: Mp4Decoder['fr'] = null;
  Object.defineProperty(decoder, 'fr', {
    get: () => fragments,
    set: (given: Mp4Decoder['fr']) => {
      fragments = given;
      // The library reads the fragments only of a file whose index has no frames.
      if (given && sound) given.queue = sound.places;
    },
  });
  const add = ({ channelData, sampleRate }: Decoded) => timeline.add(channelData, sampleRate);
  let unread = 0;
  let damage: Damage | null = null;
  try {
    try {
      let first = true;
      for await (const block of bytes) {
        // The first block contains the whole index.
        if (first) sound = takeSound(block);
        first = false;
        add(await decoder.decode(block));
        await (frames as Frames | null)?.settle();
        yield* timeline.drain();
      }
    } catch (error) {
      if (!(error instanceof Damage) || !frames) throw error;
      damage = error;
    }
    if (decoder.st) unread = decoder.st.sizes.length - decoder.st.idx;
    else if (decoder.fr && !damage) unread = decoder.fr.queue.length - decoder.fr.qi;
    add(await decoder.flush());
    const { samples, sampleRate } = (frames as Frames | null) ?? { samples: 0, sampleRate: 1 };
    (frames as Frames | null)?.end();
    yield* timeline.drain(true);
    timeline.report(unread > 0 ? timeline.seconds + (unread * samples) / sampleRate : null, 0);
    if (damage) throw damage;
  } finally {
    (frames as Frames | null)?.free();
    decoder.free();
  }
}
