/** What an engine tells of itself: as an object, and as messages on a channel of node:diagnostics_channel. */
import { channel } from 'node:diagnostics_channel';

export interface EngineFigures {
  /** Windows that wait for a slot, and searches that wait for rows. */
  waiting: { windows: number; searches: number; oldestMilliseconds: number };
  /** Audio positions and rows in use, of so many. */
  positions: { used: number; total: number };
  rows: { used: number; total: number };
  /** Since the engine was opened. */
  windows: number;
  searches: number;
  steps: number;
  /** Rows that were decoded in all steps together: rowSteps / steps is the mean batch. */
  rowSteps: number;
  audioPositions: number;
  cancelled: number;
  /** Windows that were searched again at a higher temperature. */
  fallbacks: number;
  /** Windows that were encoded as far as their sound goes, and then whole, since the text looked wrong. */
  encodedAgain: number;
  /**
   * Milliseconds while anything was under way: on the device's clock in encoders and in decoder steps, and the rest,
   * the host's.
   */
  time: { encode: number; decode: number; host: number };
}

/** A message on the channel 'onehead.engine'. Times are milliseconds. */
export type EngineEvent =
  | { event: 'encode'; windows: number; positions: number; elapsed: number }
  | { event: 'steps'; steps: number; rows: number; elapsed: number }
  | { event: 'window'; waited: number; priority: string }
  | { event: 'cancelled' }
  | { event: 'busy'; retryAfter: number }
  | { event: 'failed'; error: unknown };

const events = channel('onehead.engine');

export function publish(event: EngineEvent): void {
  if (events.hasSubscribers) events.publish(event);
}

/** The sum of several engines' figures. */
export function sumFigures(all: readonly EngineFigures[]): EngineFigures {
  const sum = (of: (figures: EngineFigures) => number) => all.reduce((total, figures) => total + of(figures), 0);
  return {
    waiting: {
      windows: sum(({ waiting }) => waiting.windows),
      searches: sum(({ waiting }) => waiting.searches),
      oldestMilliseconds: Math.max(0, ...all.map(({ waiting }) => waiting.oldestMilliseconds)),
    },
    positions: { used: sum(({ positions }) => positions.used), total: sum(({ positions }) => positions.total) },
    rows: { used: sum(({ rows }) => rows.used), total: sum(({ rows }) => rows.total) },
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
