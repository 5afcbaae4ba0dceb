/** The options of a server: of the plugin, and of the command. */
import { custom, flag, integer, number, text } from '../../options/kinds.js';
import { type Checked, type Given, option, options } from '../../options/options.js';
import type { LoadOptions } from '../../whisper/model/types.js';
import type { TranscribeOptions } from '../../whisper/transcription/options.js';
import type { Whisper } from '../../whisper/whisper.js';

/** A model that is served. */
export interface ServedModel {
  /** The name for clients. */
  id: string;
  /** Folder or hub name; the bundled model where it is left out. */
  model?: string;
  /** Loaded by the caller already, who disposes it too. */
  whisper?: Whisper;
  /** Options of loading that override the server's own `load`. */
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
  expected: 'an object that names a model for each alias',
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

/** '*', or what browsers send as Origin: a scheme, a host and maybe a port, with nothing behind. */
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
  /**
   * Folders and hub names of the models that clients may ask for, and no others; the first is the usual one. @default
   * the bundled one
   */
  models: option(models),
  /** Other names that clients may use for a model. @default whisper-1 for the first model */
  alias: option(aliases),
  /** Options of loading all models. */
  load: option(custom<LoadOptions>(isObject, { expected: 'an object of options of load' })),
  /**
   * Options of transcribe that every request begins with; short clips are encoded as far as they go
   * (`audioContext: 'fit'`) unless they say otherwise.
   */
  transcribe: option(custom<TranscribeOptions>(isObject, { expected: 'an object of options of transcribe' })),
  /**
   * A file of keys, one a line: KEY, and behind it name=NAME, rate=REQUESTS_A_MINUTE, concurrency=N and priority=CLASS
   * as wanted. It is read again when it changes. @default no keys: everybody may ask
   */
  keys: option(text('FILE', 'a path')),
  /** Seconds after which a model that nobody uses is unloaded; 0 for never. @default 900 */
  unloadAfter: option(number(0, 1e9, { placeholder: 'SECONDS' }), { default: 900 }),
  /**
   * Models that are loaded at once at most; the one that was not used for longest makes room. @default as many as there
   * are
   */
  maximumLoaded: option(integer(1)),
  /** The first model is loaded when the server starts, and not when it is first asked for. @default true */
  preload: option(flag(), { default: true }),
  /** Bytes of an upload at most; more is answered with 413. @default 536870912 */
  maxBytes: option(number(1, Number.POSITIVE_INFINITY, { placeholder: 'N' }), { default: 512 * 2 ** 20 }),
  /** Seconds of a recording at most, counted as they are decoded. @default 14400 */
  maxDuration: option(number(0, Number.POSITIVE_INFINITY, { above: true, placeholder: 'SECONDS' }), {
    default: 4 * 3600,
  }),
  /** Seconds that a request may take; what takes longer is answered with 504. @default 3600 */
  timeout: option(number(0, 1e9, { above: true, placeholder: 'SECONDS' }), { default: 3600 }),
  /** Seconds for which an upload may stand still; then it is answered with 408. @default 30 */
  uploadTimeout: option(number(0, 1e9, { above: true, placeholder: 'SECONDS' }), { default: 30 }),
  /**
   * Requests that are open at once at most, the waiting ones and sockets counted; one more is answered with 503.
   * @default 256
   */
  maximumRequests: option(integer(1), { default: 256 }),
  /**
   * Seconds: while something has waited longer than this for its turn, new requests are answered with 503. @default 60
   */
  maximumWait: option(number(0, 1e9, { above: true, placeholder: 'SECONDS' }), { default: 60 }),
  /**
   * Bytes of an upload that are held in memory; what is more goes to a temporary file until the answer is given.
   * @default 4194304
   */
  uploadMemory: option(number(0, Number.POSITIVE_INFINITY, { placeholder: 'N' }), { default: 4 * 2 ** 20 }),
  /** Folder of these temporary files. @default the system's */
  temporaryFolder: option(text('DIR', 'a path')),
  /** Seconds after which a realtime session that sends nothing is closed. @default 300 */
  realtimeIdle: option(number(1, 1e6, { placeholder: 'SECONDS' }), { default: 300 }),
  /** Seconds that a realtime session may last. @default 7200 */
  realtimeDuration: option(number(1, 2e6, { placeholder: 'SECONDS' }), { default: 7200 }),
  /** Seconds in which requests under way may end when the server is stopped. @default 30 */
  shutdownTimeout: option(number(0, 3600, { placeholder: 'SECONDS' }), { default: 30 }),
  /** Seconds: while the event loop is late by more than this, new requests are answered with 503. @default 1 */
  maximumEventLoopDelay: option(number(0, 3600, { above: true, placeholder: 'SECONDS' }), { default: 1 }),
  /** /metrics needs a key, too. @default false */
  protectMetrics: option(flag(), { default: false }),
  /** A page at `/`, to drop recordings on and to speak to. @default true */
  page: option(flag(), { default: true }),
  /**
   * Origins whose pages may ask from a browser, such as https://example.org; '*' for all. @default none but the
   * server's own page
   */
  allowOrigin: option(origins),
  /** Fields that the server does not know are left alone, and not answered with 400. @default false */
  ignoreUnknownFields: option(flag(), { default: false }),
});

/** Options of a server; all may be left out. */
export interface ServerOptions extends Given<typeof serverOptions> {}
export type CheckedServerOptions = Checked<typeof serverOptions>;
