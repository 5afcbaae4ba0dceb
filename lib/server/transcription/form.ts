/** Parses a multipart form while it arrives. Fields may have any order; the file is stored in a spool. */
import type { FastifyRequest } from 'fastify';
import { shown } from '../../errors.js';
import { ApiError, badField } from '../service/api-error.js';
import type { Service } from '../service/service.js';
import { Spool, tooLarge } from './spool.js';

/** Limits of the multipart parser, which bound memory. Requests of usual clients are far below them. */
const limits = {
  fieldNameSize: 100,
  fieldSize: 1 << 20,
  fields: 64,
  files: 8,
  parts: 72,
  headerPairs: 32,
  // The spool limits the size, with a better error.
  fileSize: Number.POSITIVE_INFINITY,
};

/** Maximum characters of all fields together, which are kept in memory until the request ends. */
const maxFieldCharacters = 2 << 20;

export interface Form {
  /** Values by field name; the names of arrays have no brackets here. */
  readonly fields: ReadonlyMap<string, string[]>;
  readonly file: Spool | null;
  /** True once the whole form has arrived. */
  readonly complete: boolean;
  /** Resolves when the file begins to arrive, or the form has ended without one. */
  readonly fileBegun: Promise<void>;
  /** Resolves when the whole form has arrived. Rejects with ApiError 400, 408 or 413. */
  readonly ended: Promise<void>;
  /** Discards the file. */
  close(): Promise<void>;
}

/** Converts an error of the multipart parser or of the upload's connection. */
function formError(error: unknown): unknown {
  if (error instanceof ApiError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC') {
    return new ApiError(503, 'The server has no space for the upload; try again later.', {
      code: 'overloaded',
      retryAfter: 30,
    });
  }
  if (code === 'FST_PARTS_LIMIT' || code === 'FST_FIELDS_LIMIT' || code === 'FST_FILES_LIMIT') {
    return new ApiError(
      400,
      `The form has more than ${limits.fields} fields or ${limits.files} files; send only fields of the API.`,
    );
  }
  if (code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'FST_MP_PREMATURE_CLOSE' || code === 'ECONNRESET') {
    return new ApiError(400, 'The connection was closed before the whole form had arrived.');
  }
  if (code?.startsWith('E')) return error;
  return new ApiError(
    400,
    `The form is invalid: ${shown(message, 120).replace(/\.$/, '')}; send multipart/form-data as in RFC 7578.`,
    {
      cause: error,
    },
  );
}

/** Starts to read a request's form. Throws ApiError 400 if it has none, 415 if it is compressed. */
export function readForm(request: FastifyRequest, { options }: Service): Form {
  const coding = request.headers['content-encoding'];
  if (coding !== undefined && !/^(identity)?$/i.test(coding)) {
    throw new ApiError(
      415,
      `The request is compressed (${shown(coding, 60)}); send the form without Content-Encoding, since audio is compressed already.`,
    );
  }
  if (!request.isMultipart()) {
    throw new ApiError(
      400,
      `Invalid Content-Type (${shown(request.headers['content-type'] ?? 'none', 60)}); expected multipart/form-data.`,
    );
  }
  const fields = new Map<string, string[]>();
  let file: Spool | null = null;
  let resolveBegun = () => {};
  const fileBegun = new Promise<void>((resolve) => {
    resolveBegun = resolve;
  });
  const { promise: stalled, progress, stop } = stallWatch(options.uploadTimeout);

  const read = async () => {
    let characters = 0;
    for await (const part of request.parts({ limits })) {
      progress();
      if (part.type === 'field') {
        const { fieldname, value, fieldnameTruncated, valueTruncated } = part;
        if (fieldnameTruncated)
          throw new ApiError(400, `The name of a field is longer than ${limits.fieldNameSize} bytes.`);
        if (valueTruncated)
          throw badField(fieldname, `The field ${shown(fieldname, 60)} is longer than ${limits.fieldSize} bytes.`);
        const name = fieldname.endsWith('[]') ? fieldname.slice(0, -2) : fieldname;
        const text = typeof value === 'string' ? value : JSON.stringify(value);
        characters += text.length;
        if (characters > maxFieldCharacters) {
          throw new ApiError(
            400,
            `The fields of the form have more than ${maxFieldCharacters} characters together; shorten them.`,
          );
        }
        fields.set(name, [...(fields.get(name) ?? []), text]);
        continue;
      }
      if (part.fieldname !== 'file') {
        const name = shown(part.fieldname, 60);
        throw badField(part.fieldname, `The field ${name} is a file; send only one file, in the field 'file'.`);
      }
      if (file) throw badField('file', 'The field file was sent twice; send one request for each file.');
      const spool = new Spool({
        memory: options.uploadMemory,
        maxBytes: options.maxBytes,
        folder: options.temporaryFolder,
      });
      file = spool;
      resolveBegun();
      for await (const chunk of part.file) {
        progress();
        await spool.write(chunk as Uint8Array);
      }
      spool.end();
    }
  };

  let complete = false;
  const length = Number(request.headers['content-length'] ?? 0);
  const maxLength = options.maxBytes + limits.fields * limits.fieldSize;
  const ended = (length > maxLength ? Promise.reject(tooLarge(options.maxBytes)) : Promise.race([read(), stalled]))
    .then(() => {
      complete = true;
    })
    .catch((error) => {
      const converted = formError(error);
      file?.fail(converted);
      throw converted;
    })
    .finally(() => {
      stop();
      resolveBegun();
    });
  ended.catch(() => {}); // callers that await it handle the error
  return {
    fields,
    get file() {
      return file;
    },
    get complete() {
      return complete;
    },
    fileBegun,
    ended,
    close: async () => file?.close(),
  };
}

/** Rejects with ApiError 408 if `progress` is not called for this many milliseconds. */
function stallWatch(limit: number) {
  let timer: NodeJS.Timeout;
  const promise = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new ApiError(408, `The upload made no progress for ${limit / 1000} seconds; send it again.`, {
          code: 'upload_timeout',
        }),
      );
    }, limit);
  });
  promise.catch(() => {});
  return { promise, progress: () => void timer.refresh(), stop: () => clearTimeout(timer) };
}
