/** Runs a function without console output: decoders compiled to WebAssembly print their errors. */
export function quiet<T>(work: () => T): T {
  // Only during the synchronous call.
  const { log, warn, error } = console;
  console.log = console.warn = console.error = () => {};
  try {
    return work();
  } finally {
    Object.assign(console, { log, warn, error });
  }
}
