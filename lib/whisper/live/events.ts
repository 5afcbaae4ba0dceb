/** A queue of events for one reader. It merges unread events, so that its size is bounded. */
import type { Confirmed, LiveEvent } from './types.js';

const merged = (first: Confirmed, second: Confirmed): Confirmed => ({
  ...second,
  text: first.text + second.text,
  words: [...first.words, ...second.words],
  ...(first.tokens && second.tokens && { tokens: [...first.tokens, ...second.tokens] }),
  ...(first.logprobs && second.logprobs && { logprobs: [...first.logprobs, ...second.logprobs] }),
});

export class EventQueue {
  #events: LiveEvent[] = [];
  #ended = false;
  #error: unknown = null;
  #wake: (() => void) | null = null;

  push(event: LiveEvent): void {
    if (this.#ended) return;
    let last = this.#events.at(-1);
    // An unread hypothesis is outdated.
    if (last?.type === 'partial' && last.turn === (event as { turn?: number }).turn) {
      this.#events.pop();
      last = this.#events.at(-1);
    }
    if (event.type === 'confirmed' && last?.type === 'confirmed' && last.turn === event.turn) {
      this.#events[this.#events.length - 1] = merged(last, event);
    } else this.#events.push(event);
    this.#wake?.();
  }

  /** Ends the queue. The reader receives the remaining events, and then `error` if there is one. */
  end(error: unknown = null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** Yields the events in order, for one reader. */
  async *read(): AsyncGenerator<LiveEvent, void> {
    for (;;) {
      const event = this.#events.shift();
      if (event) yield event;
      else if (this.#error) throw this.#error;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
      }
    }
  }
}
