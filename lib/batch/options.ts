/** The options of queues and workers. */
import { formats } from '../formats/index.js';
import { flag, integer, list, number, oneOf, text } from '../options/kinds.js';
import { option, options } from '../options/options.js';

const formatNames = Object.keys(formats) as (keyof typeof formats)[];

export const queueOptions = options('the queue', {
  /** Address of Redis, such as redis://host:6379. @default the environment's ONEHEAD_REDIS */
  redis: option(text('URL', 'an address', { filled: true })),
  /** The queue's name; several may live on one server. @default 'onehead' */
  queue: option(text('NAME', 'a name', { filled: true }), { default: 'onehead' }),
});

export const submitOptions = options('submit', {
  /** A folder: what comes into it later is submitted too, once it has stopped growing, until the command is ended. */
  watch: option(text('DIR')),
  /** Failures after which a recording is set aside. @default 5 */
  attempts: option(integer(1, 1000), { default: 5 }),
});

export const workerOptions = options('worker', {
  /** Destination of results: a folder, or s3://bucket/prefix. */
  results: option(text('DIR|s3://...', 'a folder or s3://bucket/prefix', { filled: true })),
  /**
   * Formats written for each recording: text, json, verbose_json, srt, vtt, tsv, csv, lrc or ass, or several. @default
   * 'json'
   */
  format: option(list(oneOf(formatNames, 'FORMAT'), `${formatNames.join(', ')}, or several of them`, 1), {
    default: ['json'],
  }),
  /** Recordings under way at once. @default two more than the model has windows */
  concurrency: option(integer(1, 10_000)),
  /** Seconds after which a worker that is not heard of loses what it has. @default 30 */
  lock: option(number(1, 3600, { placeholder: 'SECONDS' }), { default: 30 }),
  /** Seconds between two pieces of a long recording's journal, from which another worker goes on. @default 20 */
  journalInterval: option(number(0.1, 3600, { placeholder: 'SECONDS' }), { default: 20 }),
  /**
   * Seconds that what is under way is given to end, after SIGTERM or SIGINT. What has not ended is given back. @default
   * 60
   */
  drain: option(number(0, 86_400, { placeholder: 'SECONDS' }), { default: 60 }),
  /** Ends when nothing is left. @default false, or true for recordings that are named here */
  untilEmpty: option(flag()),
  /** Failures after which a recording is set aside. @default 5 */
  attempts: option(integer(1, 1000), { default: 5 }),
  /** One line of JSON for each event, on standard output. @default false */
  log: option(flag(), { default: false }),
  /** No progress. @default false */
  quiet: option(flag(), { default: false }),
});

export const statusOptions = options('status', {
  /** Prints JSON. @default false */
  json: option(flag(), { default: false }),
  /** Shown again every two seconds, until all is done. @default false */
  watch: option(flag(), { default: false }),
  /** Failures that are shown at most. @default 20 */
  failures: option(integer(0, 1_000_000), { default: 20 }),
});

export const chooseOptions = options('retry and cancel', {
  /** All recordings are meant. @default false */
  all: option(flag(), { default: false }),
});
