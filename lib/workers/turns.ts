/** Turns: work that was cut into steps lets other work of its thread run between them. */

/** Milliseconds of steps in one turn of the event loop. */
const slice = 4;

const waiting: (() => void)[] = [];
let begun = 0;
let scheduled = false;

function next(): void {
  scheduled = false;
  // One at a time: what it does before its next step is counted before another one goes on.
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
 * To be awaited between steps: gives way where all steps together took their time in this turn of the event loop, so
 * that a hundred recordings hold it up no longer than one.
 */
export function turn(): Promise<void> | undefined {
  if (!scheduled) start();
  else if (waiting.length > 0 || performance.now() - begun > slice)
    return new Promise((resolve) => waiting.push(resolve));
  return undefined;
}
