/** Who tells speech from the rest, a frame at a time. */

import { workers } from '../workers/pool.js';
import type { CheckedVadOptions } from './options.js';
import type { VoiceDetector } from './voice-detector.js';

/** Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED. */
export async function openDetector({ detector, model, mode }: CheckedVadOptions): Promise<VoiceDetector> {
  if (detector === 'webrtc') {
    const { openVoice } = await import('./remote.js');
    return openVoice(workers, mode) ?? (await import('./webrtc.js')).openWebRtc(mode);
  }
  return (await import('./silero.js')).openSilero(model);
}
