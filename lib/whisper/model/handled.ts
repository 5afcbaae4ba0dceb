/** Work on a device that is submitted in several parts. */

/**
 * The same promise, whose rejection does not end the process if nobody waits for it: a later part of the same work may
 * be refused, and its error is then the only one that the caller gets.
 */
export function handled<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  return work;
}
