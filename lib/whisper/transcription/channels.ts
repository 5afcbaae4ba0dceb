/** Transcribes the channels of a recording separately and merges them by time, such as the two sides of a call. */
import { splitChannels } from '../../audio/channels.js';
import type { AudioSource, Source } from '../../audio/index.js';
import { OneheadError } from '../../errors.js';
import { journalPart } from '../decoding/journal.js';
import { type Outcome, TranscriptionState } from './state.js';
import type { Timings } from './timings.js';
import type { PartialText, Segment } from './types.js';

/** Seconds of audio that a channel may be read ahead of the slowest one. */
const aheadSeconds = 30;
/** Transcription pauses if more segments than this wait for the consumer. */
const maximumWaiting = 64;
/** A channel is silent if all its samples are below this: 80 dB below full scale. */
const silence = 1e-4;
/** Seconds by which a word may begin before its window, since times are rounded. */
const tolerance = 0.01;

/** The transcription of one channel. */
interface ChannelRun {
  job: TranscriptionState;
  source: AudioSource;
  channel: number;
  /** True if the channel's language is detected. */
  detects: boolean;
  /** Segments that wait until no other channel can have an earlier one. */
  waiting: Segment[];
  /** Number of characters of its text. */
  length: number;
  /** The loudest sample so far. */
  loudest: number;
  /** The second up to which the channel has been processed. */
  processed: number;
  done: boolean;
}

/** Returns a source that stores the loudest sample in `run`. */
function measured(source: AudioSource, run: ChannelRun): AudioSource {
  async function* chunks() {
    for await (const chunk of source.chunks()) {
      for (const sample of chunk) run.loudest = Math.max(run.loudest, Math.abs(sample));
      yield chunk;
    }
  }
  return { ...source, chunks };
}

/** Opens the transcription of a channel. Silence is removed unless `vad` is false. Events are reported by `job`. */
async function openRun(
  job: TranscriptionState,
  source: AudioSource,
  channel: number,
  signal: AbortSignal,
): Promise<ChannelRun> {
  const { onPartial, journal, vad = true } = job.options;
  const options = {
    ...job.options,
    vad,
    signal,
    onProgress: undefined,
    onWarning: undefined,
    onPartial: onPartial && ((partial: PartialText) => onPartial({ ...partial, channel })),
    journal: journal && journalPart(journal, `channel ${channel}`),
  };
  const state = await TranscriptionState.open(job.model, options, job.request.part(signal));
  const run: ChannelRun = {
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
function collect(run: ChannelRun, { segments, processed }: Outcome): void {
  const { job, channel } = run;
  run.processed = processed;
  // Text for complete silence is hallucinated.
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

/** Returns the segments in order, up to where a channel may still have an earlier one. `remove` removes them. */
function orderedSegments(runs: readonly ChannelRun[], remove: boolean): Segment[] {
  const completeTo = Math.min(
    ...runs.map(({ done, job, processed }) => (done ? Number.POSITIVE_INFINITY : job.known(processed) - tolerance)),
  );
  return runs
    .flatMap(({ waiting }) => {
      const later = waiting.findIndex(({ start }) => start > completeTo);
      const count = later < 0 ? waiting.length : later;
      return remove ? waiting.splice(0, count) : waiting.slice(0, count);
    })
    .sort((a, b) => a.start - b.start);
}

/**
 * Combines the channels' results: the language of the channel with the most text, the longest duration, all warnings.
 */
function combineChannels(job: TranscriptionState, runs: readonly ChannelRun[], source: Source<unknown>): void {
  job.total = runs[0].job.total;
  job.duration = Math.max(...runs.map((run) => run.job.duration));
  job.language = runs.reduce((most, run) => (run.length > most.length ? run : most)).job.language ?? job.language;
  job.spoken = runs.some((run) => run.job.spoken);
  for (const stage of Object.keys(job.times.total) as (keyof Timings)[]) {
    job.times.total[stage] = runs.reduce((sum, run) => sum + run.job.times.total[stage], 0);
  }
  const omitted = runs.flatMap((run) => run.job.omitted.map((omission) => ({ ...omission, channel: run.channel })));
  job.omitted.splice(0, job.omitted.length, ...omitted.sort((a, b) => a.start - b.start));
  const warnings = runs.flatMap((run) => run.job.warnings.sentences);
  job.addWarnings({ warnings: [...source.warnings, ...warnings], incomplete: source.incomplete });
}

/**
 * Yields the outcomes of all channels. Segments are in order of time and have the number of their channel. `outcomesOf`
 * transcribes all channels concurrently. `source` is decoded once; audio is in memory from the slowest channel on.
 */
export async function* channelOutcomes(
  job: TranscriptionState,
  source: Source<Float32Array[]>,
  outcomesOf: (job: TranscriptionState, source: AudioSource) => AsyncGenerator<Outcome>,
): AsyncGenerator<Outcome> {
  const { sampleRate } = job.model.checkpoint.preprocessor;
  const stop = new AbortController();
  const { signal: callerSignal } = job.options;
  const signal = callerSignal ? AbortSignal.any([callerSignal, stop.signal]) : stop.signal;
  const sources = await splitChannels(source, aheadSeconds * sampleRate);
  const runs: ChannelRun[] = [];
  let waiters: (() => void)[] = [];
  const nextChange = () => new Promise<void>((resolve) => waiters.push(resolve));
  const changed = () => {
    const woken = waiters;
    waiters = [];
    for (const wake of woken) wake();
  };
  let failure: { error: unknown } | null = null;
  const transcribe = async (run: ChannelRun) => {
    try {
      for await (const outcome of outcomesOf(run.job, run.source)) {
        collect(run, outcome);
        changed();
        while (!signal.aborted && orderedSegments(runs, false).length > maximumWaiting) await nextChange();
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
    for (const [channel, channelSource] of sources.entries()) {
      runs.push(await openRun(job, channelSource, channel, signal));
    }
    work = runs.map(transcribe);
    let id = 0;
    let processed = 0;
    for (;;) {
      const change = nextChange();
      const ended = failure !== null || runs.every(({ done }) => done);
      const segments = orderedSegments(runs, true).map((segment) => ({ ...segment, id: id++ }));
      combineChannels(job, runs, source);
      const processedByAll = Math.min(...runs.map((run) => (run.done ? job.duration : run.processed)));
      if (segments.length > 0 || processedByAll > processed) {
        processed = Math.max(processed, processedByAll);
        changed();
        yield { segments, processed };
      }
      if (failure) throw (failure as { error: unknown }).error;
      if (ended) return;
      await change;
    }
  } finally {
    stop.abort(new OneheadError('DISPOSED', 'The transcription has ended.'));
    changed();
    // The recording is closed first, which ends reads that wait for more.
    await source.close();
    await Promise.all(sources.map((channelSource) => channelSource.close()));
    await Promise.all(work);
  }
}
