/// <reference path="./fvad.d.ts" />
/** WebRTC's voice activity detector, compiled to WebAssembly. */
import { webRtcFrame as frame, type VoiceDetector } from './voice-detector.js';

const sampleRate = 16000;
/** The detector's binary results are averaged over this many frames (0.3 s). */
const steadyFrames = 10;

/** `mode` is the aggressiveness, 0 to 3. */
export async function openWebRtc(mode: number): Promise<VoiceDetector> {
  const { default: fvad } = await import('@echogarden/fvad-wasm');
  const library = await fvad();
  const handle = library._fvad_new();
  const buffer = library._malloc(frame * 2);
  library._fvad_set_mode(handle, mode);
  library._fvad_set_sample_rate(handle, sampleRate);
  const recent = new Uint8Array(steadyFrames);
  let count = 0;
  return {
    frame,
    probabilities(samples) {
      const at = buffer / 2;
      return Float64Array.from({ length: samples.length / frame }, (_, index) => {
        for (let i = 0; i < frame; ++i) {
          const sample = Math.round(samples[index * frame + i] * 32768);
          library.HEAP16[at + i] = Math.max(-32768, Math.min(32767, sample));
        }
        recent[count++ % steadyFrames] = library._fvad_process(handle, buffer, frame) === 1 ? 1 : 0;
        return recent.reduce((sum, voiced) => sum + voiced, 0) / Math.min(count, steadyFrames);
      });
    },
    close() {
      library._free(buffer);
      library._fvad_free(handle);
    },
  };
}
