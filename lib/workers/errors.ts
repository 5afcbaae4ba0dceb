/** Sends errors between threads. Structured cloning alone would lose their class and code. */
import { type ErrorCode, type ErrorDetails, OneheadError } from '../errors.js';

/** An error in a message. */
export interface SerializedError {
  /** The id under which the thread that threw the error keeps the original. */
  id?: number;
  name: string;
  message: string;
  stack?: string;
  code?: string;
  /** The system call that failed. reasonOf uses it to find the path in the message. */
  syscall?: string;
  details?: Omit<ErrorDetails, 'cause'>;
  cause?: SerializedError;
}

/** Ids of errors from the other thread, which are sent back with them. */
const ids = new WeakMap<object, number>();

/** `keep` stores the original and returns its id, so that `deserializeError` can return the original. */
export function serializeError(error: unknown, keep?: (error: unknown) => number): SerializedError {
  const id = keep?.(error) ?? (error instanceof Error ? ids.get(error) : undefined);
  if (!(error instanceof Error)) return { id, name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  const serialized: SerializedError = { id, name, message, stack, code, syscall };
  if (error instanceof OneheadError) {
    const { operation, argument, expected, received, retryAfter } = error;
    serialized.details = { operation, argument, expected, received, retryAfter };
  }
  if (cause !== undefined) serialized.cause = serializeError(cause);
  return serialized;
}

/** Restores an error: the original if it has an id and `kept` is given, else a copy. */
export function deserializeError(
  { id, name, message, stack, code, syscall, details, cause }: SerializedError,
  kept?: readonly unknown[],
): unknown {
  if (id !== undefined && kept) return kept[id];
  const restoredCause = cause && deserializeError(cause, kept);
  const error = details
    ? new OneheadError(code as ErrorCode, message, { ...details, cause: restoredCause })
    : Object.assign(
        new Error(message, restoredCause === undefined ? undefined : { cause: restoredCause }),
        { name, stack },
        code !== undefined && { code },
        syscall !== undefined && { syscall },
      );
  if (id !== undefined) ids.set(error, id);
  return error;
}
