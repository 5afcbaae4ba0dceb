/** What tells speech from the rest, a frame at a time. */
export interface VoiceDetector {
  /** Samples of a frame, at 16 kHz. */
  readonly frame: number;
  /** How probable speech is in each of the frames that follow, 0 to 1. `samples` are whole frames, given in order. */
  probabilities(samples: Float32Array): ArrayLike<number> | Promise<ArrayLike<number>>;
  close(): void | Promise<void>;
}

/** Samples of WebRTC's frames: 30 ms, the longest that it takes. */
export const webRtcFrame = 480;
