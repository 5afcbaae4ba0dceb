/**
 * Lets one of several callers go on in each turn of the event loop. If many sequences end in one step, all of their
 * callers would make text of their results, and send their next requests, before the engine could submit any of these:
 * the device would have nothing to do for milliseconds per caller.
 */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  /** Resolves at once if nobody had a turn in this turn of the event loop, otherwise in a later one. */
  async turn(): Promise<void> {
    if (this.#isTaken) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve);
      });
      return;
    }
    this.#isTaken = true;
    this.#later();
  }

  /** The engine submits what the last caller has requested, before the next one goes on. */
  #later(): void {
    setImmediate(() => setImmediate(this.#next));
  }

  readonly #next = (): void => {
    const next = this.#waiting.shift();
    if (!next) {
      this.#isTaken = false;
      return;
    }
    next();
    this.#later();
  };
}
