/** Tells failures that may pass from those that are permanent. */
import { type ErrorCode, OneheadError, reasonOf, shown } from '../errors.js';

/** Errors of the recording or of what is asked of it: nobody can transcribe that. */
const lasting = new Set<ErrorCode>([
  'INVALID_ARGUMENT',
  'NOT_SUPPORTED',
  'AUDIO_NOT_FOUND',
  'AUDIO_INVALID',
  'AUDIO_TOO_LARGE',
  'AUDIO_TOO_LONG',
]);

/** System errors whose cause is a disk, a network or this machine, and not the file. */
const passing = new Set([
  ...['EIO', 'EREMOTEIO', 'ESTALE', 'EBUSY', 'EAGAIN', 'EINTR', 'ENOSPC', 'EDQUOT'],
  ...['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS'],
  ...['ETIMEDOUT', 'ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'ENOTCONN', 'EAI_AGAIN', 'ENOTFOUND'],
  ...['ENETDOWN', 'ENETUNREACH', 'ENETRESET', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENOLINK'],
]);

/** System errors of a file that is missing, is not a file, or may not be read. */
const unreadable = new Map([
  ['ENOENT', 'there is no such file on this machine'],
  ['ENOTDIR', 'there is no such file on this machine'],
  ['EACCES', 'it may not be read by this worker'],
  ['EPERM', 'it may not be read by this worker'],
  ['EISDIR', 'it is a folder'],
  ['ENXIO', 'it is no ordinary file'],
  ['ENODEV', 'it is no ordinary file'],
  ['EOPNOTSUPP', 'it is no ordinary file'],
  ['ELOOP', 'it is a link that leads nowhere'],
  ['ENAMETOOLONG', 'its name is too long'],
  ['ERR_INVALID_ARG_VALUE', 'its name holds a null byte'],
]);

const codeOf = (error: unknown) => String((error as NodeJS.ErrnoException | null)?.code);

/** True for what is set aside at once. Everything else, a full disk or a device that fails, may go better later. */
export function isLasting(error: unknown): boolean {
  if (!(error instanceof OneheadError && lasting.has(error.code))) return false;
  // A file that a disk or a network gives no more looks like one that is damaged; what came before it tells them apart.
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    if (passing.has(codeOf(cause))) return false;
  return true;
}

/**
 * An error of the system's about a recording's file: OneheadError AUDIO_NOT_FOUND for what nobody can read here, else
 * as it is.
 */
export function fileError(file: string, cause: unknown): unknown {
  const reason = unreadable.get(codeOf(cause));
  return reason === undefined ? cause : noFile(file, reason, cause);
}

export function noFile(file: string, reason: string, cause?: unknown): OneheadError {
  return new OneheadError('AUDIO_NOT_FOUND', `Cannot read ${shown(file)}: ${reason}.`, { cause });
}

/** Names of what S3 says of an object that is not there, may not be read, or is in an archive. */
const unreadableObjects = new Set(['NoSuchKey', 'NotFound', 'NoSuchBucket', 'AccessDenied', 'InvalidObjectState']);

/**
 * An error of S3's about a recording: OneheadError AUDIO_NOT_FOUND for what nobody can read with these rights, else as
 * it is.
 */
export function objectError(source: string, cause: unknown): unknown {
  const { name = '' } = (cause ?? {}) as { name?: string };
  return unreadableObjects.has(name) ? noFile(source, reasonOf(cause), cause) : cause;
}
