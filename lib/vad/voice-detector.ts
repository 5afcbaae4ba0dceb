/** A voice detector, which distinguishes speech from other sound frame by frame. */
export interface VoiceDetector {
  /** Samples of a frame at 16 kHz. */
  readonly frame: number;
  /**
   * Returns the probability of speech in each of the next frames, 0 to 1. `samples` are whole frames, given in order.
   */
  probabilities(samples: Float32Array): ArrayLike<number> | Promise<ArrayLike<number>>;
  close(): void | Promise<void>;
}

/** Samples of WebRTC's frames: 30 ms, the longest supported. */
export const webRtcFrame = 480;
