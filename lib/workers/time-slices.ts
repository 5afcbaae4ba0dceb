/** Cooperative multitasking for long work on an event loop, which is done in steps. */

/** Milliseconds that all steps together may take in one iteration of the event loop. */
const timeSlice = 4;

const waiting: (() => void)[] = [];
let sliceStart = 0;
let scheduled = false;

function nextIteration(): void {
  scheduled = false;
  // Only one continues, since its next step counts before another one may continue.
  const resume = waiting.shift();
  if (resume) start();
  resume?.();
}

function start(): void {
  sliceStart = performance.now();
  scheduled = true;
  setImmediate(nextIteration);
}

/**
 * To be awaited between steps. Once the time slice is used up, the promise resolves in a later iteration of the event
 * loop. All callers share the slice, so a hundred recordings block the loop no longer than one.
 */
export function yieldTimeSlice(): Promise<void> | undefined {
  if (!scheduled) start();
  else if (waiting.length > 0 || performance.now() - sliceStart > timeSlice)
    return new Promise((resolve) => waiting.push(resolve));
  return undefined;
}
