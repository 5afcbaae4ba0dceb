/** Opens voice detectors: Silero's, or WebRTC's on a worker thread. */

import { workers } from '../workers/pool.js';
import type { CheckedVadOptions } from './options.js';
import { openSilero } from './silero.js';
import type { VoiceDetector } from './voice-detector.js';

export async function openDetector({ detector, mode }: CheckedVadOptions): Promise<VoiceDetector> {
  if (detector === 'silero') return openSilero();
  const { openVoice } = await import('./remote.js');
  return openVoice(workers, mode) ?? (await import('./webrtc.js')).openWebRtc(mode);
}
