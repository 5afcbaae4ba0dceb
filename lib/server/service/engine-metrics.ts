/** What engines report, as metrics for Prometheus. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Registry } from 'prom-client';
import { type EngineEvent, engineChannel } from '../../engine/figures.js';
import { byPriority, type Priority } from '../../engine/request.js';
import type { Whisper } from '../../whisper/whisper.js';

type Figures = ReturnType<Whisper['figures']>;

/** Counters that engines report. `read` returns one value for each combination of labels. */
export const engineCounters: {
  name: string;
  help: string;
  read: (figures: Figures) => [labels: Record<string, string>, value: number][];
}[] = [
  {
    name: 'onehead_windows_total',
    help: 'Encoded windows.',
    read: ({ windows }) => [[{}, windows]],
  },
  { name: 'onehead_steps_total', help: 'Decoder steps.', read: ({ steps }) => [[{}, steps]] },
  {
    name: 'onehead_row_steps_total',
    help: 'Rows decoded in all steps together; divided by onehead_steps_total, the mean batch.',
    read: ({ rowSteps }) => [[{}, rowSteps]],
  },
  {
    name: 'onehead_fallbacks_total',
    help: 'Windows decoded again at a higher temperature.',
    read: ({ fallbacks }) => [[{}, fallbacks]],
  },
  {
    name: 'onehead_encoded_again_total',
    help: 'Short windows encoded again with the full audio context, since their text looked wrong.',
    read: ({ encodedAgain }) => [[{}, encodedAgain]],
  },
  {
    name: 'onehead_cancelled_total',
    help: 'Cancelled windows and searches.',
    read: ({ cancelled }) => [[{}, cancelled]],
  },
  {
    name: 'onehead_engine_seconds_total',
    help: "Seconds with requests in flight: device time of encoders and decoder steps, and the host's share.",
    read: ({ time }) => Object.entries(time).map(([stage, milliseconds]) => [{ stage }, milliseconds / 1000]),
  },
];

/** Gauges. `read` returns one value, or one for each priority. */
export const engineGauges: {
  name: string;
  help: string;
  read: (figures: Figures, whisper: Whisper) => number | Record<Priority, number>;
}[] = [
  {
    name: 'onehead_open_requests',
    help: 'Open requests, including waiting ones.',
    read: ({ requests }) => requests,
  },
  { name: 'onehead_waiting_windows', help: 'Windows that wait for a slot.', read: ({ waiting }) => waiting.windows },
  { name: 'onehead_waiting_searches', help: 'Searches that wait for rows.', read: ({ waiting }) => waiting.searches },
  { name: 'onehead_waiting_calls', help: 'Calls that wait for memory of audio.', read: ({ waiting }) => waiting.calls },
  {
    name: 'onehead_oldest_wait_seconds',
    help: 'Seconds for which the oldest of these has waited, by priority.',
    read: ({ waiting }) => byPriority((priority) => waiting.oldestByPriority[priority] / 1000),
  },
  { name: 'onehead_slot_positions_used', help: 'Audio positions in use.', read: ({ positions }) => positions.used },
  { name: 'onehead_slot_positions', help: 'Total audio positions.', read: ({ positions }) => positions.total },
  { name: 'onehead_rows_used', help: 'Decoder rows in use.', read: ({ rows }) => rows.used },
  { name: 'onehead_rows', help: 'Total decoder rows.', read: ({ rows }) => rows.total },
  {
    name: 'onehead_devices_failed',
    help: 'Devices of a loaded model that have failed; the others serve its requests.',
    read: ({ engines }) => engines.filter(({ failure }) => failure !== null).length,
  },
  {
    name: 'onehead_device_memory_bytes',
    help: "Bytes of weights, programs and tensors on the model's first device.",
    read: (_, { model }) => model.device.memory().inUse,
  },
];

/** Seconds of waiting for a slot. */
const waitBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
/** Windows or rows at once. */
const batchBuckets = [1, 2, 4, 8, 16, 32, 64, 128];

/**
 * Histograms of waiting and of batches, of all models of this process together, since events do not name their model.
 * Returns a function that ends them.
 */
export function observeEngines({ Histogram }: typeof import('prom-client'), registers: Registry[]): () => void {
  const wait = new Histogram({
    name: 'onehead_window_wait_seconds',
    help: 'Seconds for which windows waited for a slot, by priority, of all models.',
    labelNames: ['priority'],
    buckets: waitBuckets,
    registers,
  });
  const encoded = new Histogram({
    name: 'onehead_encode_windows',
    help: 'Windows that were encoded together, of all models.',
    buckets: batchBuckets,
    registers,
  });
  const rows = new Histogram({
    name: 'onehead_step_rows',
    help: 'Rows that were decoded together, for each run of steps, of all models.',
    buckets: batchBuckets,
    registers,
  });
  const onEvent = (message: unknown) => {
    const event = message as EngineEvent;
    if (event.event === 'window') wait.observe({ priority: event.priority }, event.waited / 1000);
    else if (event.event === 'encode') encoded.observe(event.windows);
    else if (event.event === 'steps') rows.observe(event.rows);
  };
  subscribe(engineChannel, onEvent);
  return () => void unsubscribe(engineChannel, onEvent);
}
