/** Selects the channels of a recording, mixed or separate. */
import { refuse } from '../checks.js';
import { Mixer } from './mix.js';
import type { Channels } from './options.js';
import type { AudioSource, Source } from './source.js';
import type { Warn } from './warnings.js';
import type { DecodedChunk } from './wav.js';

/** Selects or mixes decoded channels. The results have the same length. */
export interface ChannelPicker {
  /** Processes samples `begin` to `end` of a chunk. Some may be held back. The results may change at the next step. */
  push(chunk: DecodedChunk, begin: number, end: number): Iterable<Float32Array[]>;
  /** Returns the samples held back; called at the end or before the rate changes. */
  finish(): Iterable<Float32Array[]>;
}

/** A way to read a recording's channels. */
export interface ChannelReader<T> {
  pick(channels: Channels, name: string, warn: Warn): ChannelPicker;
  shape(chunks: AsyncGenerator<Float32Array[]>): AsyncGenerator<T>;
}

/**
 * A mix of all channels, or the mean of the selected ones. `push` throws OneheadError INVALID_ARGUMENT if a selected
 * channel does not exist.
 */
export const mixed: ChannelReader<Float32Array> = {
  pick(channels, name, warn) {
    const mixer = new Mixer(name, warn);
    let begun = false;
    const chosenOf = (all: Float32Array[]) => {
      if (typeof channels === 'string') return all;
      const chosen = channels.filter((channel) => channel < all.length).map((channel) => all[channel]);
      if (chosen.length < channels.length && !begun) {
        const missing = channels.filter((channel) => channel >= all.length);
        const numbers = all.length === 1 ? 'channel 0 alone' : `channels 0 to ${all.length - 1}`;
        refuse('channels', `numbers of channels that ${name} has, which are ${numbers},`, missing);
      }
      begun = true;
      return chosen;
    };
    const alone = function* (parts: Iterable<Float32Array>) {
      for (const mono of parts) yield [mono];
    };
    return {
      push(chunk, begin, end) {
        const channels = chosenOf(chunk.channels);
        if (channels === chunk.channels) return alone(mixer.push(chunk, begin, end));
        // Selected channels are averaged, wherever they belong.
        const selected = { ...chunk, channels, speakers: undefined };
        if (channels.length > 0) return alone(mixer.push(selected, begin, end));
        warn(`${name} has fewer channels later on; the selected ones end there.`, 'lost');
        const silence = { channels: [new Float32Array(end - begin)], sampleRate: chunk.sampleRate };
        return alone(mixer.push(silence, 0, end - begin));
      },
      finish: () => alone(mixer.finish()),
    };
  },
  async *shape(chunks) {
    for await (const [mono] of chunks) yield mono;
  },
};

/** Each channel separately; the first chunk determines their number. */
export const apart: ChannelReader<Float32Array[]> = {
  pick(_, name, warn) {
    let count = 0;
    const push = ({ channels: all }: DecodedChunk, begin: number, end: number) => {
      if (count === 0) count = all.length;
      if (all.length > count) {
        warn(`${name} has more channels later on; channels from number ${count} on were ignored.`, 'lost');
      }
      if (all.length < count) {
        warn(`${name} has fewer channels later on; channels from number ${all.length} on are silent there.`, 'mended');
      }
      return [
        Array.from({ length: count }, (_, channel) =>
          channel < all.length ? all[channel].subarray(begin, end) : new Float32Array(end - begin),
        ),
      ];
    };
    return { push, finish: () => [] };
  },
  shape: (chunks) => chunks,
};

/** Samples of one channel that were read but not consumed. */
interface Queue {
  chunks: Float32Array[];
  held: number;
  open: boolean;
}

/**
 * The channels of a recording as separate sources, to be read side by side. None is read farther than `maxAhead`
 * samples ahead of the slowest one that is still open. Closing the last one closes the recording, which keeps its
 * warnings. Throws the errors of reading.
 */
export async function splitChannels(source: Source<Float32Array[]>, maxAhead: number): Promise<AudioSource[]> {
  const chunks = source.chunks()[Symbol.asyncIterator]();
  const first = await chunks.next();
  const queues: Queue[] = (first.done ? [] : first.value).map(() => ({ chunks: [], held: 0, open: true }));
  let ended = first.done === true;
  let failure: { error: unknown } | null = null;
  let reading: Promise<void> | null = null;
  let waiting: (() => void)[] = [];
  const changed = () => {
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  const give = (parts: readonly Float32Array[]) => {
    queues.forEach((queue, channel) => {
      if (!queue.open) return;
      queue.chunks.push(parts[channel]);
      queue.held += parts[channel].length;
    });
  };
  const read = async () => {
    try {
      const { value, done } = await chunks.next();
      if (done) ended = true;
      else give(value);
    } catch (error) {
      failure = { error };
    }
    reading = null;
    changed();
  };
  const leave = async (queue: Queue) => {
    if (!queue.open) return;
    Object.assign(queue, { chunks: [], held: 0, open: false });
    changed();
    if (queues.every(({ open }) => !open)) await source.close();
  };
  if (!first.done) give(first.value);
  return queues.map((queue) => {
    async function* chunksOfChannel() {
      try {
        while (queue.open) {
          const chunk = queue.chunks.shift();
          if (chunk) {
            queue.held -= chunk.length;
            changed();
            yield chunk;
          } else if (failure) throw (failure as { error: unknown }).error;
          else if (ended) return;
          else if (queues.every(({ held }) => held < maxAhead)) {
            reading = reading ?? read();
            await reading;
          } else await new Promise<void>((resolve) => waiting.push(resolve));
        }
      } finally {
        await leave(queue);
      }
    }
    const { duration, startTime } = source;
    return { duration, startTime, warnings: [], incomplete: false, chunks: chunksOfChannel, close: () => leave(queue) };
  });
}
