/** Who tells speech from the rest, a frame at a time. */

import { OneheadError } from '../errors.js';
import type { VoiceDetector } from './voice-detector.js';

export interface VadOptions {
  /** 'webrtc' (the default) needs nothing; 'silero' needs the package onnxruntime-node and a `model`. */
  detector?: 'webrtc' | 'silero';
  /** Silero's model, an .onnx file of version 5 or later. */
  model?: string;
  /** WebRTC's aggressiveness, 0 to 3: how surely a frame must be speech; 3 by default. */
  mode?: number;
  /** Probability from which on speech begins; 0.5 by default. It ends 0.15 below. */
  threshold?: number;
  /** Seconds: shorter speech is taken for noise; 0.25 by default. */
  minSpeech?: number;
  /** Seconds: shorter silence does not end speech; 2 by default, 0.5 where windows are batched. */
  minSilence?: number;
  /** Seconds kept before and after speech; 0.4 by default. */
  padding?: number;
}

/** Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED. */
export async function openDetector({ detector = 'webrtc', model, mode = 3 }: VadOptions): Promise<VoiceDetector> {
  if (detector === 'webrtc') return (await import('./webrtc.js')).openWebRtc(mode);
  if (detector === 'silero') return (await import('./silero.js')).openSilero(model);
  throw new OneheadError(
    'INVALID_ARGUMENT',
    `Expected vad.detector to be 'webrtc' or 'silero' but received '${detector}'.`,
    { argument: 'vad' },
  );
}
