/** Converts decoded samples to chunks at the requested rate. */
import { OneheadError } from '../errors.js';
import { yieldTimeSlice } from '../workers/time-slices.js';
import type { ChannelPicker } from './channels.js';
import { LevelCheck } from './level.js';
import { tooLong } from './options.js';
import { Resampler } from './resample.js';
import type { DecodedChunk } from './wav.js';

/**
 * Selects channels with `pick` and resamples them, in chunks of at most a second. Throws OneheadError: AUDIO_INVALID if
 * there are no samples or their level is invalid; AUDIO_TOO_LONG for more than `maxDuration` seconds.
 */
export async function* convert(
  decoded: AsyncGenerator<DecodedChunk>,
  pick: ChannelPicker,
  sampleRate: number,
  name: string,
  signal: AbortSignal,
  maxDuration = Number.POSITIVE_INFINITY,
): AsyncGenerator<Float32Array[]> {
  const level = new LevelCheck(name);
  let resamplers = null as Resampler[] | null;
  let rate = 0;
  let given = 0;
  let decodedSeconds = 0;
  const seconds = function* (picked: readonly Float32Array[]) {
    for (let at = 0; at < picked[0].length; at += sampleRate) {
      yield picked.map((samples) => samples.subarray(at, at + sampleRate));
    }
  };
  const resampled = function* (parts: Iterable<Float32Array[]>) {
    for (const picked of parts) {
      if (rate !== sampleRate) resamplers ??= picked.map(() => new Resampler(rate, sampleRate));
      yield* seconds(resamplers?.map((one, i) => one.push(picked[i])) ?? picked.map((samples) => samples.slice()));
    }
  };
  for await (const decodedChunk of decoded) {
    const { channels, sampleRate: from, checked } = decodedChunk;
    if (from !== rate) {
      yield* resampled(pick.finish());
      if (resamplers) yield* seconds(resamplers.map((one) => one.finish()));
      rate = from;
      resamplers = null;
    }
    decodedSeconds += channels[0].length / from;
    if (decodedSeconds > maxDuration) throw tooLong(name, maxDuration);
    // One second at a time, so that a large chunk neither blocks the event loop nor doubles in memory.
    const length = channels[0].length;
    for (let at = 0; at < length; at += from) {
      signal.throwIfAborted();
      const end = Math.min(at + from, length);
      if (!checked) for (const channel of channels) level.check(channel, at, end, from);
      given += end - at;
      yield* resampled(pick.push(decodedChunk, at, end));
      // Lets other work run, such as a timer that aborts.
      await yieldTimeSlice();
    }
  }
  signal.throwIfAborted();
  if (given === 0) {
    throw new OneheadError('AUDIO_INVALID', `${name} contains no audio; record or export it again.`);
  }
  level.finish();
  yield* resampled(pick.finish());
  if (resamplers) yield* seconds(resamplers.map((one) => one.finish()));
}
