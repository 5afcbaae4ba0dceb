/** Time slices: work in steps lets other work of its thread run in between. */

/** Milliseconds of steps in one turn of the event loop. */
const slice = 4;

const waiting: (() => void)[] = [];
let begun = 0;
let scheduled = false;

function next(): void {
  scheduled = false;
  // One at a time: its next step is counted before another one continues.
  const go = waiting.shift();
  if (go) start();
  go?.();
}

function start(): void {
  begun = performance.now();
  scheduled = true;
  setImmediate(next);
}

/**
 * To be awaited between steps. Yields once all steps together have used their slice of this turn of the event loop, so
 * a hundred recordings block it no longer than one.
 */
export function turn(): Promise<void> | undefined {
  if (!scheduled) start();
  else if (waiting.length > 0 || performance.now() - begun > slice)
    return new Promise((resolve) => waiting.push(resolve));
  return undefined;
}
