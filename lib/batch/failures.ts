/** Distinguishes temporary failures from permanent ones. */
import { type ErrorCode, OneheadError, reasonOf, shown } from '../errors.js';

/** Errors of the recording or its options, which no retry can fix. */
const permanentCodes = new Set<ErrorCode>([
  'INVALID_ARGUMENT',
  'NOT_SUPPORTED',
  'AUDIO_NOT_FOUND',
  'AUDIO_INVALID',
  'AUDIO_TOO_LARGE',
  'AUDIO_TOO_LONG',
]);

/** System errors of a disk, a network or the machine, not of the file. */
const temporaryCodes = new Set([
  ...['EIO', 'EREMOTEIO', 'ESTALE', 'EBUSY', 'EAGAIN', 'EINTR', 'ENOSPC', 'EDQUOT'],
  ...['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS'],
  ...['ETIMEDOUT', 'ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'ENOTCONN', 'EAI_AGAIN', 'ENOTFOUND'],
  ...['ENETDOWN', 'ENETUNREACH', 'ENETRESET', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENOLINK'],
]);

/** System errors of a file that is missing, not a regular file, or not readable. */
const unreadable = new Map([
  ['ENOENT', 'the file does not exist on this machine'],
  ['ENOTDIR', 'the file does not exist on this machine'],
  ['EACCES', 'this worker may not read it'],
  ['EPERM', 'this worker may not read it'],
  ['EISDIR', 'it is a folder'],
  ['ENXIO', 'it is not a regular file'],
  ['ENODEV', 'it is not a regular file'],
  ['EOPNOTSUPP', 'it is not a regular file'],
  ['ELOOP', 'it is a broken link'],
  ['ENAMETOOLONG', 'its name is too long'],
  ['ERR_INVALID_ARG_VALUE', 'its name contains a null byte'],
]);

const codeOf = (error: unknown) => String((error as NodeJS.ErrnoException | null)?.code);

/** True if the recording is set aside at once. Other errors, such as a full disk or a failing device, are retried. */
export function isPermanent(error: unknown): boolean {
  if (!(error instanceof OneheadError && permanentCodes.has(error.code))) return false;
  // A file looks damaged if a disk or network fails to deliver it. Then one of the causes is a system error.
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    if (temporaryCodes.has(codeOf(cause))) return false;
  return true;
}

/**
 * Converts a system error about a recording's file: OneheadError AUDIO_NOT_FOUND if it is permanent, else unchanged.
 */
export function fileError(file: string, cause: unknown): unknown {
  const reason = unreadable.get(codeOf(cause));
  return reason === undefined ? cause : noFile(file, reason, cause);
}

export function noFile(file: string, reason: string, cause?: unknown): OneheadError {
  return new OneheadError('AUDIO_NOT_FOUND', `Cannot read ${shown(file)}: ${reason}.`, { cause });
}

/** Error names of S3 for objects that do not exist, may not be read, or are archived. */
const unreadableObjects = new Set(['NoSuchKey', 'NotFound', 'NoSuchBucket', 'AccessDenied', 'InvalidObjectState']);

/** Converts an S3 error about a recording: OneheadError AUDIO_NOT_FOUND if it is permanent, else unchanged. */
export function objectError(source: string, cause: unknown): unknown {
  const { name = '' } = (cause ?? {}) as { name?: string };
  return unreadableObjects.has(name) ? noFile(source, reasonOf(cause), cause) : cause;
}
