/** Errors on their way between threads: a clone would lose what kind of error it was, and its code. */
import { type ErrorCode, type ErrorDetails, OneheadError } from '../errors.js';

/** An error as a message holds it. */
export interface ToldError {
  /** The number of one that the other side has itself. */
  own?: number;
  name: string;
  message: string;
  stack?: string;
  code?: string;
  /** For errors of the system: the call that failed, from which the position of paths in the message is known. */
  syscall?: string;
  details?: Omit<ErrorDetails, 'cause'>;
  cause?: ToldError;
}

/** Errors that came from the other thread, so that they go back as the same. */
const known = new WeakMap<object, number>();

/** `keep` remembers an error under a number, for `revive` to give it back as it is. */
export function tell(error: unknown, keep?: (error: unknown) => number): ToldError {
  const own = keep?.(error) ?? (error instanceof Error ? known.get(error) : undefined);
  if (!(error instanceof Error)) return { own, name: 'Error', message: String(error) };
  const { name, message, stack, cause } = error;
  const { code, syscall } = error as NodeJS.ErrnoException;
  const told: ToldError = { own, name, message, stack, code, syscall };
  if (error instanceof OneheadError) {
    const { operation, argument, expected, received, retryAfter } = error;
    told.details = { operation, argument, expected, received, retryAfter };
  }
  if (cause !== undefined) told.cause = tell(cause);
  return told;
}

/** The error again: the same one where it is among `kept`, else one like it. */
export function revive(
  { own, name, message, stack, code, syscall, details, cause }: ToldError,
  kept?: readonly unknown[],
): unknown {
  if (own !== undefined && kept) return kept[own];
  const because = cause && revive(cause, kept);
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
