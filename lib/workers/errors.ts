/** Passes errors between threads: structured cloning would lose their class and code. */
import { type ErrorCode, type ErrorDetails, OneheadError } from '../errors.js';

/** An error as a message contains it. */
export interface SerializedError {
  /** The number under which the other thread keeps the original. */
  own?: number;
  name: string;
  message: string;
  stack?: string;
  code?: string;
  /** For system errors: the call that failed, which marks the position of paths in the message. */
  syscall?: string;
  details?: Omit<ErrorDetails, 'cause'>;
  cause?: SerializedError;
}

/** Errors from the other thread, so that they are returned as their originals. */
const known = new WeakMap<object, number>();

/** `keep` stores the original under a number, so that `deserializeError` can return it. */
export function serializeError(error: unknown, keep?: (error: unknown) => number): SerializedError {
  const own = keep?.(error) ?? (error instanceof Error ? known.get(error) : undefined);
  if (!(error instanceof Error)) return { own, name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  const serialized: SerializedError = { own, name, message, stack, code, syscall };
  if (error instanceof OneheadError) {
    const { operation, argument, expected, received, retryAfter } = error;
    serialized.details = { operation, argument, expected, received, retryAfter };
  }
  if (cause !== undefined) serialized.cause = serializeError(cause);
  return serialized;
}

/** Restores an error: the original if it is among `kept`, otherwise an equal one. */
export function deserializeError(
  { own, name, message, stack, code, syscall, details, cause }: SerializedError,
  kept?: readonly unknown[],
): unknown {
  if (own !== undefined && kept) return kept[own];
  const because = cause && deserializeError(cause, kept);
  const error = details
    ? new OneheadError(code as ErrorCode, message, { ...details, cause: because })
    : Object.assign(
        new Error(message, because === undefined ? undefined : { cause: because }),
        { name, stack },
        code !== undefined && { code },
        syscall !== undefined && { syscall },
      );
  if (own !== undefined) known.set(error, own);
  return error;
}
