/** What tells speech from the rest, a frame at a time. */
export interface VoiceDetector {
  /** Samples of a frame, at 16 kHz. */
  readonly frame: number;
  /** How probable speech is in the next frame, 0 to 1. Frames are given in order. */
  probability(frame: Float32Array): number | Promise<number>;
  close(): void | Promise<void>;
}
