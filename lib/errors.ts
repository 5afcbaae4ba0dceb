/** The codes of `OneheadError`. docs/errors.md describes each. */
export const errorCodes = [
  'INVALID_ARGUMENT',
  'INVALID_SHAPE',
  'INVALID_DTYPE',
  'DISPOSED',
  'NOT_SUPPORTED',
  'OUT_OF_MEMORY',
  'DEVICE_UNAVAILABLE',
  'DEVICE_FAILED',
  'ADDON_UNAVAILABLE',
  'MODEL_NOT_FOUND',
  'MODEL_INVALID',
  'AUDIO_NOT_FOUND',
  'AUDIO_INVALID',
  'AUDIO_TOO_LARGE',
  'AUDIO_TOO_LONG',
  'DOWNLOAD_FAILED',
  'TIMED_OUT',
  'BUSY',
  'WORKER_FAILED',
  'QUEUE_UNAVAILABLE',
  'STORE_FAILED',
] as const;
export type ErrorCode = (typeof errorCodes)[number];

export interface ErrorDetails {
  /** The operation with an invalid argument, such as 'linear'. */
  operation?: string;
  /** The name of the invalid argument, such as 'bias'. */
  argument?: string;
  /** Descriptions of valid values and of the given one. */
  expected?: string;
  received?: string;
  /** Seconds after which to try again; set with code BUSY. */
  retryAfter?: number;
  cause?: unknown;
}

const detailNames = ['operation', 'argument', 'expected', 'received', 'retryAfter'] as const;

/** An error whose message says what is wrong and what to do, with a code for programs. */
export class OneheadError extends Error {
  override readonly name = 'OneheadError';
  readonly code: ErrorCode;
  // Not initialized: an error that is printed lists only the details that it has.
  declare readonly operation?: string;
  declare readonly argument?: string;
  declare readonly expected?: string;
  declare readonly received?: string;
  declare readonly retryAfter?: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    for (const name of detailNames) {
      if (details[name] !== undefined) Object.assign(this, { [name]: details[name] });
    }
  }
}

/** Statuses of errors that the client can do something about, if only to try again later. */
const statuses: Partial<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: 400,
  NOT_SUPPORTED: 400,
  AUDIO_INVALID: 400,
  AUDIO_TOO_LONG: 400,
  AUDIO_TOO_LARGE: 413,
  BUSY: 503,
  DISPOSED: 503,
  OUT_OF_MEMORY: 503,
  DEVICE_FAILED: 503,
  TIMED_OUT: 504,
};

/**
 * The HTTP status with which a service answers a call that failed, as `onehead serve` does. From 500 on the error is
 * not the client's, and its message is for the service's log.
 */
export function httpStatus(error: unknown): number {
  return (error instanceof OneheadError && statuses[error.code]) || 500;
}

/**
 * Formats text from a caller or a file for a message: without control characters, and shortened to `maxLength`
 * characters. No message should quote more than 200.
 */
export function shown(value: unknown, maxLength = 160): string {
  const text = String(value)
    .slice(0, 100_000)
    .replace(/\p{Cc}+/gu, ' ');
  if (text.length <= maxLength) return text;
  const end = Math.floor(maxLength / 3);
  return `${text.slice(0, maxLength - end - 5)} ... ${text.slice(-end)}`;
}

/** What the system's usual errors say, as clauses that fit both reading and writing. */
const systemReasons = new Map([
  ['EACCES', 'this user may not access it'],
  ['EDQUOT', "this user's disk quota is used up"],
  ['EEXIST', 'there is something of this name already'],
  ['EISDIR', 'it is a folder'],
  ['ELOOP', 'it is in a circle of symbolic links'],
  ['EMFILE', 'this process has too many open files'],
  ['ENAMETOOLONG', 'its name is too long'],
  ['ENFILE', 'this machine has too many open files'],
  ['ENOENT', 'there is no such file or folder'],
  ['ENOSPC', 'there is no space left on the disk'],
  ['ENOTDIR', 'a part of its path is no folder'],
  ['EPERM', 'this user may not do that'],
  ['EROFS', 'its disk can only be read'],
]);

/**
 * The message of an error from another library or the system, for use within a sentence: without a full stop, and for
 * system errors without the code, the system call and the path.
 */
export function reasonOf(cause: unknown): string {
  const { message, syscall, code } = (
    cause instanceof Error ? cause : new Error(String(cause))
  ) as NodeJS.ErrnoException;
  // "ENOENT: no such file or directory, open 'talk.mp3'"; errors that we make have the code, but a clause of their own.
  if (syscall && code && message.startsWith(`${code}: `)) {
    const end = message.lastIndexOf(`, ${syscall}`);
    const text = message.slice(code.length + 2, end > 0 ? end : undefined);
    return systemReasons.get(code) ?? shown(text, 120);
  }
  return shown(message, 120).replace(/\.$/, '');
}
