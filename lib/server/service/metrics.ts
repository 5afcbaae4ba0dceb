/** Metrics for Prometheus. Labels are models, endpoints, statuses and error codes, so clients cannot add new ones. */
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Priority } from '../../engine/request.js';
import type { Whisper } from '../../whisper/whisper.js';
import { library } from './libraries.js';

/** Seconds, from short clips to recordings of hours. */
const buckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

type Figures = ReturnType<Whisper['figures']>;

/** Counters that engines report. `read` returns one value for each combination of labels. */
const engineCounters: {
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
const engineGauges: {
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
  {
    name: 'onehead_oldest_wait_seconds',
    help: 'Seconds for which the oldest of these has waited, by priority.',
    read: ({ waiting: { oldestByPriority: oldest } }) => ({
      live: oldest.live / 1000,
      interactive: oldest.interactive / 1000,
      batch: oldest.batch / 1000,
    }),
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

/** Returns the loaded models. */
export type LoadedModels = () => readonly { id: string; whisper: Whisper }[];
/** Returns the ids of the models whose devices have failed. */
export type FailedModels = () => readonly string[];

export class Metrics {
  readonly registry: Registry;
  readonly #requests: Counter<'endpoint' | 'status'>;
  readonly #seconds: Histogram<'endpoint' | 'model'>;
  readonly #firstText: Histogram<'model'>;
  readonly #audio: Counter<'model'>;
  readonly #uploaded: Counter<string>;
  readonly #disconnected: Counter<'endpoint'>;
  readonly #refused: Counter<'reason'>;
  readonly #failures: Counter<'model'>;
  /** Counts of unloaded models. The keys are JSON of metric, model and labels. */
  readonly #unloaded = new Map<string, number>();

  private constructor(
    client: typeof import('prom-client'),
    ids: readonly string[],
    loaded: LoadedModels,
    failedModels: FailedModels,
  ) {
    const { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } = client;
    this.registry = new Registry();
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.#requests = new Counter({
      name: 'onehead_requests_total',
      help: 'Responses, by endpoint and status.',
      labelNames: ['endpoint', 'status'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'onehead_request_seconds',
      help: 'Seconds from the first byte of a request to the last byte of its response, for transcribed recordings.',
      labelNames: ['endpoint', 'model'],
      buckets,
      registers,
    });
    this.#firstText = new Histogram({
      name: 'onehead_first_text_seconds',
      help: 'Seconds from the first byte of a request to the first text.',
      labelNames: ['model'],
      buckets,
      registers,
    });
    this.#audio = new Counter({
      name: 'onehead_audio_seconds_total',
      help: 'Seconds of transcribed audio.',
      labelNames: ['model'],
      registers,
    });
    this.#uploaded = new Counter({
      name: 'onehead_uploaded_bytes_total',
      help: 'Bytes of uploaded recordings.',
      registers,
    });
    this.#disconnected = new Counter({
      name: 'onehead_clients_gone_total',
      help: 'Clients that disconnected before their response was complete.',
      labelNames: ['endpoint'],
      registers,
    });
    this.#refused = new Counter({
      name: 'onehead_refused_total',
      help: 'Refused requests, by error code.',
      labelNames: ['reason'],
      registers,
    });
    this.#failures = new Counter({
      name: 'onehead_model_failures_total',
      help: 'How often all devices of a model failed, so that it had to be loaded again.',
      labelNames: ['model'],
      registers,
    });
    for (const model of ids) {
      this.#audio.inc({ model }, 0);
      this.#failures.inc({ model }, 0);
    }
    new Gauge({
      name: 'onehead_model_failed',
      help: "Whether a model's devices have failed and it is not loaded again.",
      labelNames: ['model'],
      registers,
      collect() {
        const failed = failedModels();
        for (const id of ids) this.set({ model: id }, Number(failed.includes(id)));
      },
    });
    const isLoaded = new Gauge({
      name: 'onehead_model_loaded',
      help: 'Whether a model is loaded.',
      labelNames: ['model'],
      registers,
      collect() {
        const loadedIds = new Set(loaded().map(({ id }) => id));
        for (const id of ids) this.set({ model: id }, Number(loadedIds.has(id)));
      },
    });
    isLoaded.reset();
    for (const { name, help, read } of engineGauges) {
      new Gauge({
        name,
        help,
        labelNames: ['model', 'priority'],
        registers,
        collect(this: Gauge<'model' | 'priority'>) {
          this.reset();
          for (const { id: model, whisper } of loaded()) {
            const value = read(whisper.figures(), whisper);
            if (typeof value === 'number') this.set({ model }, value);
            else for (const [priority, each] of Object.entries(value)) this.set({ model, priority }, each);
          }
        },
      });
    }
    const unloaded = this.#unloaded;
    for (const { name, help, read } of engineCounters) {
      new Counter({
        name,
        help,
        labelNames: ['model', 'stage'],
        registers,
        collect(this: Counter<'model' | 'stage'>) {
          this.reset();
          for (const [key, value] of unloaded) {
            const [metric, model, labels] = JSON.parse(key) as [string, string, Record<string, string>];
            if (metric === name) this.inc({ model, ...labels }, value);
          }
          for (const { id, whisper } of loaded()) {
            for (const [labels, value] of read(whisper.figures())) this.inc({ model: id, ...labels }, value);
          }
        },
      });
    }
  }

  /** `ids` are the served models. Throws OneheadError NOT_SUPPORTED if prom-client is missing. */
  static async create(ids: readonly string[], loaded: LoadedModels, failed: FailedModels): Promise<Metrics> {
    const client = await library(() => import('prom-client'));
    return new Metrics(client.default ?? client, ids, loaded, failed);
  }

  /** Counts a failure of all devices of a model. */
  failed(model: string): void {
    this.#failures.inc({ model });
  }

  /** Counts a response. */
  answered(endpoint: string, status: number): void {
    this.#requests.inc({ endpoint, status: String(status) });
  }

  /** Counts an error response. `reason` is the error's code or type. */
  refused(reason: string): void {
    this.#refused.inc({ reason });
  }

  /** Counts a transcribed recording. Times are in seconds. */
  transcribed(endpoint: string, model: string, elapsed: number, audio: number): void {
    this.#seconds.observe({ endpoint, model }, elapsed);
    this.#audio.inc({ model }, audio);
  }

  /** `elapsed` is in seconds. */
  firstText(model: string, elapsed: number): void {
    this.#firstText.observe({ model }, elapsed);
  }

  uploaded(bytes: number): void {
    this.#uploaded.inc(bytes);
  }

  /** Counts a client that disconnected before its response was complete. */
  disconnected(endpoint: string): void {
    this.#disconnected.inc({ endpoint });
  }

  /** Keeps the counts of a model that is about to be unloaded, so that no counter decreases. */
  unloading(id: string, whisper: Whisper): void {
    const figures = whisper.figures();
    for (const { name, read } of engineCounters) {
      for (const [labels, value] of read(figures)) {
        const key = JSON.stringify([name, id, labels]);
        this.#unloaded.set(key, (this.#unloaded.get(key) ?? 0) + value);
      }
    }
  }

  /** The metrics in Prometheus's text format. */
  render(): Promise<string> {
    return this.registry.metrics();
  }
}
