/** Callers' own jobs on the device. They are submitted before anything else that waits. */

interface CallerJob {
  submit(): Promise<void>;
  reject(error: unknown): void;
}

export class CallerJobs {
  readonly #waiting: CallerJob[] = [];
  readonly #underWay = new Set<CallerJob>();
  readonly #events: { changed(): void; failed(error: unknown): void };

  /** `failed` is called after the caller was told. */
  constructor(events: { changed(): void; failed(error: unknown): void }) {
    this.#events = events;
  }

  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#underWay.size === 0;
  }

  get areWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Adds a job, which is submitted by `submit`. */
  add<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => this.#waiting.push(this.#job(work, resolve, reject)));
  }

  /** Submits the jobs that wait. */
  submit(): void {
    for (const job of this.#waiting.splice(0)) this.#submit(job);
  }

  /** Submits a job at once. */
  run<T>(work: () => Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void): void {
    this.#submit(this.#job(work, resolve, reject));
  }

  #job<T>(work: () => Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void): CallerJob {
    const submit = async () => {
      try {
        resolve(await work());
      } catch (error) {
        reject(error);
        this.#events.failed(error);
      }
    };
    return { submit, reject };
  }

  #submit(job: CallerJob): void {
    this.#underWay.add(job);
    void job.submit().finally(() => {
      this.#underWay.delete(job);
      this.#events.changed();
    });
  }

  /** Rejects all jobs, also those under way. */
  close(error: unknown): void {
    for (const { reject } of [...this.#waiting.splice(0), ...this.#underWay]) reject(error);
  }
}
