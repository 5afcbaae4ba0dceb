/**
 * Metrics for Prometheus. Labels are models, endpoints, statuses, error codes and names of keys, so clients cannot add
 * new ones.
 */
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Whisper } from '../../whisper/whisper.js';
import { engineCounters, engineGauges, observeEngines } from './engine-metrics.js';
import { library } from './libraries.js';

/** Seconds, from short clips to recordings of hours. */
const buckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** Maximum number of labels of keys. */
const maxKeys = 1000;

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
  readonly #keyRequests: Counter<'key' | 'outcome'>;
  readonly #keyAudio: Counter<'key'>;
  /** Names of keys that have a label of their own. */
  readonly #keys = new Set<string>();
  readonly #unobserve: () => void;
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
      help: 'Seconds from the headers of a request to the last byte of its response, for transcribed recordings.',
      labelNames: ['endpoint', 'model'],
      buckets,
      registers,
    });
    this.#firstText = new Histogram({
      name: 'onehead_first_text_seconds',
      help: 'Seconds from the headers of a request to the first text.',
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
    this.#keyRequests = new Counter({
      name: 'onehead_key_requests_total',
      help: "Requests, sockets and client secrets of each key: 'accepted', or 'limited' by the key's own limits.",
      labelNames: ['key', 'outcome'],
      registers,
    });
    this.#keyAudio = new Counter({
      name: 'onehead_key_audio_seconds_total',
      help: 'Seconds of transcribed audio of each key, in recordings and realtime sessions.',
      labelNames: ['key'],
      registers,
    });
    this.#unobserve = observeEngines(client, registers);
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

  /** Counts seconds of transcribed audio. */
  transcribed(model: string, key: string, audio: number): void {
    this.#audio.inc({ model }, audio);
    this.#keyAudio.inc({ key: this.#keyLabel(key) }, audio);
  }

  /** Counts a transcribed recording whose response was sent. `elapsed` is in seconds. */
  responded(endpoint: string, model: string, elapsed: number): void {
    this.#seconds.observe({ endpoint, model }, elapsed);
  }

  /** Counts a request of a key. */
  requested(key: string, outcome: 'accepted' | 'limited'): void {
    this.#keyRequests.inc({ key: this.#keyLabel(key), outcome });
  }

  /** The label of a key. Many names, such as of a key file that changes daily, share one. */
  #keyLabel(name: string): string {
    if (!this.#keys.has(name) && this.#keys.size >= maxKeys) return 'other';
    this.#keys.add(name);
    return name;
  }

  /** Ends the observation of engines. */
  close(): void {
    this.#unobserve();
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
