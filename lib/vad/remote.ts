/** WebRTC's detector on a worker thread. */
import { deserializeError, type SerializedError } from '../workers/errors.js';
import type { WorkerPool } from '../workers/pool.js';
import { type VoiceDetector, webRtcFrame } from './voice-detector.js';

/** A worker's answer for the frames it received. */
export type FromVoice = { found: ArrayLike<number> } | { error: SerializedError };

/** Null if no thread is ready. `mode` as for `openWebRtc`. */
export function openVoice(pool: WorkerPool, mode: number): VoiceDetector | null {
  let waiting: { resolve(found: ArrayLike<number>): void; reject(error: unknown): void } | null = null;
  let failure: unknown = null;
  const events = {
    message: (message: unknown) => {
      const answer = message as FromVoice;
      session?.setState(false, false);
      if ('found' in answer) waiting?.resolve(answer.found);
      else waiting?.reject(deserializeError(answer.error));
    },
    failed: (error: unknown) => {
      failure = error;
      waiting?.reject(error);
    },
  };
  const session = pool.open('voice', mode, events, false);
  if (!session) return null;
  session.setState(false, false);
  return {
    frame: webRtcFrame,
    probabilities: (samples) =>
      new Promise((resolve, reject) => {
        if (failure) return reject(failure);
        waiting = { resolve, reject };
        session.setState(true, true);
        session.post(samples, [samples.buffer as ArrayBuffer]);
      }),
    close: () => session.close(),
  };
}
