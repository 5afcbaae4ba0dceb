/** A source that can be read once. */
import { OneheadError } from '../errors.js';
import { invalid } from './options.js';
import type { Source } from './source.js';
import type { Container } from './tracks.js';
import type { Warnings } from './warnings.js';

/** A source whose `read` is called at most once; closing it aborts reading. */
export function onceRead<T>(
  duration: number | null,
  controller: AbortController,
  warnings: Warnings,
  container: Container,
  read: () => AsyncGenerator<T>,
  release: () => Promise<void> = async () => {},
): Source<T> {
  let reading: AsyncGenerator<T> | null = null;
  let hasEnded = false;
  async function* chunks() {
    try {
      yield* read();
    } finally {
      hasEnded = true;
    }
  }
  return {
    duration,
    warnings: warnings.sentences,
    get incomplete() {
      return warnings.incomplete;
    },
    get tracks() {
      return container.tracks;
    },
    get startTime() {
      return container.start;
    },
    chunks: () => {
      if (reading) throw invalid('chunks', 'Audio can be read once; open it again to read it again.');
      reading = chunks();
      return reading;
    },
    close: async () => {
      if (!hasEnded) {
        controller.abort(new OneheadError('DISPOSED', 'The audio was closed while it was read; close it afterwards.'));
      }
      // A pending read ends with the error above; a generator that waits for its consumer ends here.
      await reading?.return(undefined).catch(() => {});
      await release().catch(() => {});
    },
  };
}
