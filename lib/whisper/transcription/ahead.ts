/** Reads ahead: audio is decoded while the device works on earlier audio. */

/** Yields the same values. Reads values of up to `limit` in total `size` before they are requested. */
export async function* readAhead<T>(
  values: AsyncIterable<T>,
  limit: number,
  size: (value: T) => number,
): AsyncGenerator<T> {
  const iterator = values[Symbol.asyncIterator]();
  const waiting: T[] = [];
  let held = 0;
  let ended = false;
  let failure: { error: unknown } | null = null;
  let wake: () => void = () => {};
  let running = true;
  const reading = (async () => {
    try {
      while (running) {
        if (held >= limit) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        const { value, done } = await iterator.next();
        if (done) break;
        waiting.push(value);
        held += size(value);
        wake();
      }
    } catch (error) {
      failure = { error };
    }
    ended = true;
    wake();
  })();
  try {
    for (;;) {
      const value = waiting.shift();
      if (value !== undefined) {
        held -= size(value);
        wake();
        yield value;
      } else if (ended) {
        if (failure) throw (failure as { error: unknown }).error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    running = false;
    wake();
    await iterator.return?.();
    await reading;
  }
}
