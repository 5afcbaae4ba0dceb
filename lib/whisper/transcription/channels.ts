/** Transcribes the channels of a recording separately and merges them by time, such as the two sides of a call. */
import { splitChannels } from '../../audio/channels.js';
import type { AudioSource, Source } from '../../audio/index.js';
import { OneheadError } from '../../errors.js';
import { journalWithin } from '../decoding/journal.js';
import { type Outcome, TranscriptionState } from './state.js';
import type { Timings } from './timings.js';
import type { PartialText, Segment } from './types.js';

/** Seconds of audio that a channel may be read ahead of the slowest one. */
const aheadSeconds = 30;
/** Channels pause when so many segments wait for the consumer. */
const mostWaiting = 64;
/** A channel is silent if no sample is louder: 80 dB below full scale. */
const silence = 1e-4;
/** A word may begin so many seconds before its window, since its times are rounded. */
const slack = 0.01;

/** One channel's transcription. */
interface Run {
  job: TranscriptionState;
  source: AudioSource;
  channel: number;
  /** True if the channel's language is detected. */
  detects: boolean;
  /** Segments that wait until no other channel can have an earlier one. */
  waiting: Segment[];
  /** Characters of its text. */
  length: number;
  loudest: number;
  processed: number;
  done: boolean;
}

/** The same source; `run` knows the loudest sample so far. */
function measured(source: AudioSource, run: Run): AudioSource {
  async function* chunks() {
    for await (const chunk of source.chunks()) {
      for (const sample of chunk) run.loudest = Math.max(run.loudest, Math.abs(sample));
      yield chunk;
    }
  }
  return { ...source, chunks };
}

/** Opens a channel's transcription. Silence is left out unless `vad` is false. Events are reported through `job`. */
async function openRun(
  job: TranscriptionState,
  source: AudioSource,
  channel: number,
  signal: AbortSignal,
): Promise<Run> {
  const { onPartial, journal, vad = true } = job.options;
  const options = {
    ...job.options,
    vad,
    signal,
    onProgress: undefined,
    onWarning: undefined,
    onPartial: onPartial && ((partial: PartialText) => onPartial({ ...partial, channel })),
    journal: journal && journalWithin(journal, `channel ${channel}`),
  };
  const state = await TranscriptionState.open(job.model, options, job.request.part(signal));
  const run: Run = {
    job: state,
    source,
    channel,
    detects: state.language === null,
    waiting: [],
    length: 0,
    loudest: 0,
    processed: 0,
    done: false,
  };
  run.source = measured(source, run);
  return run;
}

/** Adds the outcome of a window to its channel. */
function collect(run: Run, { segments, processed }: Outcome): void {
  const { job, channel } = run;
  run.processed = processed;
  // Models invent text for silence.
  if (run.loudest < silence) return;
  const detected = run.detects ? job.language : null;
  for (const segment of segments) {
    const language = segment.language ?? detected;
    run.length += segment.text.length;
    run.waiting.push({
      ...segment,
      channel,
      ...(language !== null && { language }),
      ...(segment.words && { words: segment.words.map((word) => ({ ...word, channel })) }),
    });
  }
}

/** Segments in order, as far as no channel can have an earlier one. `takeAway` removes them from the channels. */
function ordered(runs: readonly Run[], takeAway: boolean): Segment[] {
  const known = Math.min(
    ...runs.map(({ done, job, processed }) => (done ? Number.POSITIVE_INFINITY : job.known(processed) - slack)),
  );
  return runs
    .flatMap(({ waiting }) => {
      const later = waiting.findIndex(({ start }) => start > known);
      const count = later < 0 ? waiting.length : later;
      return takeAway ? waiting.splice(0, count) : waiting.slice(0, count);
    })
    .sort((a, b) => a.start - b.start);
}

/** Combines the channels' jobs: the language of the channel with the most text, the longest duration, all warnings. */
function combineChannels(job: TranscriptionState, runs: readonly Run[], source: Source<unknown>): void {
  job.total = runs[0].job.total;
  job.duration = Math.max(...runs.map((run) => run.job.duration));
  job.language = runs.reduce((most, run) => (run.length > most.length ? run : most)).job.language ?? job.language;
  for (const stage of Object.keys(job.times.total) as (keyof Timings)[]) {
    job.times.total[stage] = runs.reduce((sum, run) => sum + run.job.times.total[stage], 0);
  }
  const omitted = runs.flatMap((run) => run.job.omitted.map((one) => ({ ...one, channel: run.channel })));
  job.omitted.splice(0, job.omitted.length, ...omitted.sort((a, b) => a.start - b.start));
  const found = runs.flatMap((run) => run.job.warnings.sentences);
  job.hear({ warnings: [...source.warnings, ...found], incomplete: source.incomplete });
}

/**
 * Yields outcomes of all channels, with segments in order of time that name their channel. All channels are transcribed
 * at the same time by `outcomesOf`. `source` is decoded once, and held only as far as the slowest channel needs it.
 */
export async function* channelOutcomes(
  job: TranscriptionState,
  source: Source<Float32Array[]>,
  outcomesOf: (job: TranscriptionState, source: AudioSource) => AsyncGenerator<Outcome>,
): AsyncGenerator<Outcome> {
  const { sampleRate } = job.model.checkpoint.preprocessor;
  const stop = new AbortController();
  const { signal: given } = job.options;
  const signal = given ? AbortSignal.any([given, stop.signal]) : stop.signal;
  const sources = await splitChannels(source, aheadSeconds * sampleRate);
  const runs: Run[] = [];
  let waiting: (() => void)[] = [];
  const change = () => new Promise<void>((resolve) => waiting.push(resolve));
  const changed = () => {
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  let failure: { error: unknown } | null = null;
  const transcribe = async (run: Run) => {
    try {
      for await (const outcome of outcomesOf(run.job, run.source)) {
        collect(run, outcome);
        changed();
        while (!signal.aborted && ordered(runs, false).length > mostWaiting) await change();
      }
      run.done = true;
    } catch (error) {
      failure ??= { error };
      stop.abort(error);
    }
    changed();
  };
  let work: Promise<void>[] = [];
  try {
    for (const [channel, one] of sources.entries()) runs.push(await openRun(job, one, channel, signal));
    work = runs.map(transcribe);
    let id = 0;
    let processed = 0;
    for (;;) {
      const next = change();
      const ended = failure !== null || runs.every(({ done }) => done);
      const segments = ordered(runs, true).map((segment) => ({ ...segment, id: id++ }));
      combineChannels(job, runs, source);
      const far = Math.min(...runs.map((run) => (run.done ? job.duration : run.processed)));
      if (segments.length > 0 || far > processed) {
        processed = Math.max(processed, far);
        changed();
        yield { segments, processed };
      }
      if (failure) throw (failure as { error: unknown }).error;
      if (ended) return;
      await next;
    }
  } finally {
    stop.abort(new OneheadError('DISPOSED', 'The transcription has ended.'));
    changed();
    // The recording is closed first: this ends reads that wait for more.
    await source.close();
    await Promise.all(sources.map((one) => one.close()));
    await Promise.all(work);
  }
}
