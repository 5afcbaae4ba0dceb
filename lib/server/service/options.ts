/** Options of a server, for the plugin and the command. */
import { custom, flag, integer, milliseconds, number, text } from '../../options/kinds.js';
import { type Checked, type Given, option, options } from '../../options/options.js';
import type { LoadOptions } from '../../whisper/model/types.js';
import type { TranscribeOptions } from '../../whisper/transcription/options.js';
import type { Whisper } from '../../whisper/whisper.js';

/** A served model. */
export interface ServedModel {
  /** The name for clients. */
  id: string;
  /** Folder or hub name; default: the bundled model. */
  model?: string;
  /** A model loaded by the caller, who also disposes of it. */
  whisper?: Whisper;
  /** Options of loading, which override the server's `load`. */
  load?: LoadOptions;
}

const isModel = (value: unknown): boolean =>
  (typeof value === 'string' && value !== '') ||
  (typeof value === 'object' && value !== null && typeof (value as ServedModel).id === 'string');

const models = custom<readonly (string | ServedModel)[]>((value) => Array.isArray(value) && value.every(isModel), {
  expected: 'a list of folders, hub names and { id, model, whisper, load }',
});

const isAliases = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Object.entries(value).every(([name, model]) => name !== '' && typeof model === 'string' && model !== '');

const aliases = custom<Readonly<Record<string, string>>>(isAliases, {
  expected: 'an object that maps aliases to models',
  expectedText: 'NAME=MODEL',
  placeholder: 'NAME=MODEL,...',
  repeats: true,
  read: (given) =>
    Object.fromEntries(
      given
        .split(',')
        .filter(Boolean)
        .map((pair) => [pair.split('=', 1)[0], pair.slice(pair.split('=', 1)[0].length + 1)]),
    ),
});

/** '*', or an origin as browsers send it: scheme, host and optional port. */
const isOrigin = (value: unknown): boolean =>
  value === '*' || (typeof value === 'string' && URL.canParse(value) && new URL(value).origin === value);

const origins = custom<readonly string[]>((value) => Array.isArray(value) && value.every(isOrigin), {
  expected: "a list of origins, such as https://example.org, or '*'",
  expectedText: "origins, such as https://example.org, or '*'",
  placeholder: 'ORIGIN,...',
  repeats: true,
  read: (given) => given.split(',').filter(Boolean),
});

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

export const serverOptions = options('the server', {
  /** Folders and hub names of the served models; the first is the default model. @default the bundled model */
  models: option(models),
  /** Further names that clients may use for a model. @default whisper-1 for the first model */
  alias: option(aliases),
  /** Options of loading, for all models. */
  load: option(custom<LoadOptions>(isObject, { expected: 'an object of options of load' })),
  /**
   * Default options of transcribe for every request. Windows are encoded only as far as they contain audio
   * (`audioContext: 'fit'`) unless set otherwise.
   */
  transcribe: option(custom<TranscribeOptions>(isObject, { expected: 'an object of options of transcribe' })),
  /**
   * A file with one key on each line: KEY, optionally followed by name=NAME, rate=REQUESTS_A_MINUTE, concurrency=N and
   * priority=CLASS. It is reloaded when it changes. @default no keys: anybody may use the server
   */
  keys: option(text('FILE', 'a path')),
  /** Milliseconds after which an unused model is unloaded; 0 for never. @default 900000 */
  unloadAfter: option(milliseconds(), { default: 900_000 }),
  /** Maximum number of loaded models; above it, the least recently used one is unloaded. @default all served models */
  maximumLoaded: option(integer(1)),
  /** Loads the first model when the server starts; otherwise at its first request. @default true */
  preload: option(flag(), { default: true }),
  /** Maximum bytes of an upload; larger ones get status 413. @default 536870912 */
  maxBytes: option(number(1, Number.POSITIVE_INFINITY, { placeholder: 'N' }), { default: 512 * 2 ** 20 }),
  /** Maximum seconds of a recording, counted while decoding. @default 14400 */
  maxDuration: option(number(0, Number.POSITIVE_INFINITY, { above: true, placeholder: 'SECONDS' }), {
    default: 4 * 3600,
  }),
  /** Maximum milliseconds of a request; longer ones get status 504. @default 3600000 */
  timeout: option(milliseconds(0, { above: true }), { default: 3_600_000 }),
  /** Maximum milliseconds without progress of an upload; then it gets status 408. @default 30000 */
  uploadTimeout: option(milliseconds(0, { above: true }), { default: 30_000 }),
  /** Maximum number of open requests, including waiting ones and sockets; further ones get status 503. @default 256 */
  maximumRequests: option(integer(1), { default: 256 }),
  /**
   * While a request has waited longer than this many milliseconds, new requests of its class and of less urgent ones
   * get status 503. @default 60000
   */
  maximumWait: option(milliseconds(0, { above: true }), { default: 60_000 }),
  /**
   * Bytes of an upload held in memory; the rest is in a temporary file until the response is sent.
   * @default 4194304
   */
  uploadMemory: option(number(0, Number.POSITIVE_INFINITY, { placeholder: 'N' }), { default: 4 * 2 ** 20 }),
  /** Folder of these temporary files. @default the system's folder for temporary files */
  temporaryFolder: option(text('DIR', 'a path')),
  /** Milliseconds after which a realtime session without messages is closed. @default 300000 */
  realtimeIdle: option(milliseconds(1000), { default: 300_000 }),
  /** Maximum milliseconds of a realtime session. @default 7200000 */
  realtimeDuration: option(milliseconds(1000), { default: 7_200_000 }),
  /** Milliseconds that running requests have to finish when the server is stopped. @default 30000 */
  shutdownTimeout: option(milliseconds(0, { max: 3_600_000 }), { default: 30_000 }),
  /** While the event loop is late by more than this many milliseconds, new requests get status 503. @default 1000 */
  maximumEventLoopDelay: option(milliseconds(0, { above: true, max: 3_600_000 }), { default: 1000 }),
  /** Requires a key for /metrics. @default false */
  protectMetrics: option(flag(), { default: false }),
  /** Serves a web page at `/` for dropping recordings and for speaking. @default true */
  page: option(flag(), { default: true }),
  /**
   * Origins whose pages may call the server from a browser, such as https://example.org; '*' for all.
   * @default only the server's own page
   */
  allowOrigin: option(origins),
  /** Refuses unknown fields with status 400; otherwise they are ignored with a warning. @default false */
  refuseUnknownFields: option(flag(), { default: false }),
});

/** Options of a server; all are optional. */
export interface ServerOptions extends Given<typeof serverOptions> {}
export type CheckedServerOptions = Checked<typeof serverOptions>;
