/** Figures of an engine, as an object, and as events on a channel of node:diagnostics_channel. */
import { channel } from 'node:diagnostics_channel';
import { byPriority, type Priority } from './request.js';

/** Why an engine has ended by itself. */
export interface EngineFailure {
  /** A code of `OneheadError`. */
  code: string;
  message: string;
}

export interface EngineFigures {
  /**
   * Why the device serves no more calls; null while it does, and if the model was disposed of. Of several devices
   * together: null unless all of them have failed.
   */
  failure: EngineFailure | null;
  /** The numbers of windows that wait for a slot and of searches that wait for rows, and the longest waits. */
  waiting: {
    windows: number;
    searches: number;
    oldestMilliseconds: number;
    oldestByPriority: Record<Priority, number>;
  };
  /** Audio positions of the cross-attention cache. Of several devices: of those that have not failed. */
  positions: { used: number; total: number };
  /** Rows of the decoder's state, of the same devices. */
  rows: { used: number; total: number };
  /** Windows that were encoded since the engine was opened, as all counts below. */
  windows: number;
  searches: number;
  steps: number;
  /** The sum of the rows of all steps: rowSteps / steps is the mean batch size. */
  rowSteps: number;
  audioPositions: number;
  cancelled: number;
  /** Windows that were decoded again at a higher temperature. */
  fallbacks: number;
  /** Windows that were encoded again whole, since the text of their encoded beginning was not plausible. */
  encodedAgain: number;
  /**
   * Milliseconds during which any request was under way. `encode` and `decode` (prefill and steps) are on the device's
   * own clock. `host` is the rest: the device waits for work, reads and writes state, or has lost its cores to others.
   */
  time: { encode: number; decode: number; host: number };
}

/** The figures of all devices together, and of each. */
export interface PoolFigures extends EngineFigures {
  /** `calls`: those that wait for memory of audio. Their waits count as those of windows and searches. */
  waiting: EngineFigures['waiting'] & { calls: number };
  /** The number of open requests. */
  requests: number;
  engines: EngineFigures[];
}

/** The channel of node:diagnostics_channel on which engines publish their events. */
export const engineChannel = 'onehead.engine';

/** An event on this channel. Times are milliseconds. */
export type EngineEvent =
  | { event: 'encode'; windows: number; positions: number; elapsed: number }
  | { event: 'steps'; steps: number; rows: number; elapsed: number }
  | { event: 'window'; waited: number; priority: string }
  | { event: 'cancelled' }
  | { event: 'busy'; retryAfter: number }
  | { event: 'failed'; device: string; failure: EngineFailure };

const events = channel(engineChannel);

export function publish(event: EngineEvent): void {
  if (events.hasSubscribers) events.publish(event);
}

/** The figures of several engines together. */
export function sumFigures(all: readonly EngineFigures[]): EngineFigures {
  const sum = (count: (figures: EngineFigures) => number) => all.reduce((total, figures) => total + count(figures), 0);
  const most = (value: (figures: EngineFigures) => number) => Math.max(0, ...all.map(value));
  // What failed devices had is left out: no call gets it.
  const serving = all.filter(({ failure }) => failure === null);
  const inUse = (kind: 'positions' | 'rows') => ({
    used: serving.reduce((total, figures) => total + figures[kind].used, 0),
    total: serving.reduce((total, figures) => total + figures[kind].total, 0),
  });
  return {
    failure: all.every(({ failure }) => failure !== null) ? (all[0]?.failure ?? null) : null,
    waiting: {
      windows: sum(({ waiting }) => waiting.windows),
      searches: sum(({ waiting }) => waiting.searches),
      oldestMilliseconds: most(({ waiting }) => waiting.oldestMilliseconds),
      oldestByPriority: byPriority((priority) => most(({ waiting }) => waiting.oldestByPriority[priority])),
    },
    positions: inUse('positions'),
    rows: inUse('rows'),
    windows: sum(({ windows }) => windows),
    searches: sum(({ searches }) => searches),
    steps: sum(({ steps }) => steps),
    rowSteps: sum(({ rowSteps }) => rowSteps),
    audioPositions: sum(({ audioPositions }) => audioPositions),
    cancelled: sum(({ cancelled }) => cancelled),
    fallbacks: sum(({ fallbacks }) => fallbacks),
    encodedAgain: sum(({ encodedAgain }) => encodedAgain),
    time: {
      encode: sum(({ time }) => time.encode),
      decode: sum(({ time }) => time.decode),
      host: sum(({ time }) => time.host),
    },
  };
}
