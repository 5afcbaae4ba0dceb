/** Milliseconds of the stages of a transcription. */
export interface Timings {
  audio: number;
  /** Waiting for a slot or for rows that other requests use. */
  queue: number;
  features: number;
  encode: number;
  decode: number;
}

/** Adds up the times of the stages of all windows. */
export class StageTimes {
  readonly total: Timings = { audio: 0, queue: 0, features: 0, encode: 0, decode: 0 };

  add(stages: Partial<Timings>): void {
    for (const [stage, milliseconds] of Object.entries(stages)) this.total[stage as keyof Timings] += milliseconds;
  }

  /** Runs `work`, and adds its time. */
  async during<T>(stage: keyof Timings, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.total[stage] += performance.now() - started;
    }
  }
}
