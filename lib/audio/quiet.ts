/** Runs something that must not print: decoders compiled to WebAssembly write their complaints to the console. */
export function quiet<T>(work: () => T): T {
  // Only while it runs, which is until its first await.
  const { log, warn, error } = console;
  console.log = console.warn = console.error = () => {};
  try {
    return work();
  } finally {
    Object.assign(console, { log, warn, error });
  }
}
