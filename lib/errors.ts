/** Every code that an `OneheadError` can carry. */
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
  /** The operation that refused, such as 'linear'. */
  operation?: string;
  /** The argument that was wrong, such as 'bias'. */
  argument?: string;
  expected?: string;
  received?: string;
  /** Seconds after which to try again; set with code BUSY. */
  retryAfter?: number;
  cause?: unknown;
}

/** An error with one sentence that says what was wrong and what to do, and a code for programs. */
export class OneheadError extends Error {
  override readonly name = 'OneheadError';
  readonly code: ErrorCode;
  readonly operation?: string;
  readonly argument?: string;
  readonly expected?: string;
  readonly received?: string;
  readonly retryAfter?: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.operation = details.operation;
    this.argument = details.argument;
    this.expected = details.expected;
    this.received = details.received;
    this.retryAfter = details.retryAfter;
  }
}

/** A caller's or a file's text for messages: one line, shortened, since no message quotes more than 200 characters. */
export function shown(value: unknown, most = 160): string {
  const text = String(value)
    .slice(0, 100_000)
    .replace(/\p{Cc}+/gu, ' ');
  if (text.length <= most) return text;
  const end = Math.floor(most / 3);
  return `${text.slice(0, most - end - 5)} ... ${text.slice(-end)}`;
}

/** The reason of a foreign error, without a full stop. System errors repeat the file's name, which is left out. */
export function reasonOf(cause: unknown): string {
  const { message, syscall } = (cause instanceof Error ? cause : new Error(String(cause))) as NodeJS.ErrnoException;
  const place = syscall ? message.indexOf(`, ${syscall}`) : -1;
  return shown(place > 0 ? message.slice(0, place) : message, 120).replace(/\.$/, '');
}
