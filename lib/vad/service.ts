/** The worker's side of `remote.ts`: WebRTC's detector for the main thread. */
import { serializeError } from '../workers/errors.js';
import type { Served, Service } from '../workers/serve.js';
import type { FromVoice } from './remote.js';
import { openWebRtc } from './webrtc.js';

export const voiceService: Service = (mode: number, given): Served => {
  const post = given as unknown as (message: FromVoice) => void;
  const opened = openWebRtc(mode);
  opened.catch(() => {});
  return {
    receive: async (samples: Float32Array) => {
      try {
        post({ found: await (await opened).probabilities(samples) });
      } catch (error) {
        post({ error: serializeError(error) });
      }
    },
    close: async () => (await opened.catch(() => null))?.close(),
  };
};
