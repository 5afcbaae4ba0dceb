/** The options of queues and workers. */
import { formatList } from '../formats/format-list.js';
import { flag, integer, milliseconds, text } from '../options/kinds.js';
import { option, options } from '../options/options.js';

export const queueOptions = options('the queue', {
  /** Address of Redis, such as redis://host:6379. @default the environment variable ONEHEAD_REDIS */
  redis: option(text('URL', 'an address', { notBlank: true })),
  /** The queue's name; one server may have several queues. @default 'onehead' */
  queue: option(text('NAME', 'a name', { notBlank: true }), { default: 'onehead' }),
});

export const submitOptions = options('submit', {
  /** A folder whose new files are submitted too, once they have stopped growing, until the command is stopped. */
  watch: option(text('DIR')),
  /** Failures after which a recording is set aside. @default 5 */
  attempts: option(integer(1, 1000), { default: 5 }),
});

export const workerOptions = options('worker', {
  /** Destination of results: a folder, or s3://bucket/prefix. */
  results: option(text('DIR|s3://...', 'a folder or s3://bucket/prefix', { notBlank: true })),
  /**
   * Formats written for each recording: text, json, verbose_json, srt, vtt, tsv, csv, lrc or ass, or several.
   * @default 'json'
   */
  format: option(formatList, { default: ['json'] }),
  /** Recordings processed at once. @default the model's windows plus two */
  concurrency: option(integer(1, 10_000)),
  /** Milliseconds after which a worker that stopped responding loses its recordings. @default 30000 */
  lock: option(milliseconds(1000, { max: 3_600_000 }), { default: 30_000 }),
  /**
   * Most milliseconds between saved parts of a long recording's journal, from which another worker continues. The first
   * part is saved after a quarter of it. @default 20000
   */
  journalInterval: option(milliseconds(100, { max: 3_600_000 }), { default: 20_000 }),
  /**
   * Milliseconds that running recordings have to finish after SIGTERM or SIGINT. Unfinished ones are returned to the
   * queue.
   * @default 60000
   */
  drain: option(milliseconds(0, { max: 86_400_000 }), { default: 60_000 }),
  /** Exits when the queue is empty. @default false, or true for recordings named on the command line */
  untilEmpty: option(flag()),
  /** Failures after which a recording is set aside. @default 5 */
  attempts: option(integer(1, 1000), { default: 5 }),
  /** Prints a line of JSON for each event. @default false */
  log: option(flag(), { default: false }),
  /** Disables the progress bar. @default false */
  quiet: option(flag(), { default: false }),
});

export const statusOptions = options('status', {
  /** Prints JSON. @default false */
  json: option(flag(), { default: false }),
  /** Updates the output every two seconds until all is done. @default false */
  watch: option(flag(), { default: false }),
  /** Maximum number of failures shown. @default 20 */
  failures: option(integer(0, 1_000_000), { default: 20 }),
});

export const chooseOptions = options('retry and cancel', {
  /** Applies to all recordings. @default false */
  all: option(flag(), { default: false }),
});
