/** Milliseconds that a transcription's stages took. */
export interface Timings {
  audio: number;
  /** Waiting for a slot or for rows, since others were served. */
  queue: number;
  features: number;
  encode: number;
  decode: number;
}

/** Adds up what the stages of all windows take. */
export class StageTimes {
  readonly total: Timings = { audio: 0, queue: 0, features: 0, encode: 0, decode: 0 };

  add(stages: Partial<Timings>): void {
    for (const [stage, milliseconds] of Object.entries(stages)) this.total[stage as keyof Timings] += milliseconds;
  }

  /** Adds the time that `work` takes, from when it is called until it has ended. */
  async during<T>(stage: keyof Timings, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.total[stage] += performance.now() - started;
    }
  }
}
