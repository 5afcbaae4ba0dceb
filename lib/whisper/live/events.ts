/** A queue of events between decoding and their reader. It merges unread events, so that they do not pile up. */
import type { Confirmed, LiveEvent } from './types.js';

const joined = (first: Confirmed, second: Confirmed): Confirmed => ({
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
    // A hypothesis that nobody has read is outdated.
    if (last?.type === 'partial' && last.turn === (event as { turn?: number }).turn) {
      this.#events.pop();
      last = this.#events.at(-1);
    }
    if (event.type === 'confirmed' && last?.type === 'confirmed' && last.turn === event.turn) {
      this.#events[this.#events.length - 1] = joined(last, event);
    } else this.#events.push(event);
    this.#wake?.();
  }

  /** No more events follow; the reader gets `error` after the last one. */
  end(error: unknown = null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** The events in order, for one reader. */
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
