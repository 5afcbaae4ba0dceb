/**
 * Metrics for Prometheus. Labels are models, endpoints, statuses, error codes and names of keys, so clients cannot add
 * new ones.
 */
import type { Counter, Histogram, Registry } from 'prom-client';
import type { Whisper } from '../../whisper/whisper.js';
import { observeEngines } from './engine-metrics.js';
import { library } from './libraries.js';
import { type FailedModels, type LoadedModels, ModelMetrics } from './model-metrics.js';

/** Seconds, from short clips to recordings of hours. */
const buckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** Maximum number of labels of keys. */
const maxKeys = 1000;

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
  readonly #models: ModelMetrics;

  private constructor(
    client: typeof import('prom-client'),
    ids: readonly string[],
    loaded: LoadedModels,
    failed: FailedModels,
  ) {
    this.registry = new client.Registry();
    const registers = [this.registry];
    const counter = <T extends string>(name: string, help: string, ...labelNames: T[]) =>
      new client.Counter<T>({ name, help, labelNames, registers });
    const histogram = <T extends string>(name: string, help: string, ...labelNames: T[]) =>
      new client.Histogram<T>({ name, help, labelNames, buckets, registers });

    client.collectDefaultMetrics({ register: this.registry });
    this.#requests = counter('onehead_requests_total', 'Responses, by endpoint and status.', 'endpoint', 'status');
    this.#seconds = histogram(
      'onehead_request_seconds',
      'Seconds from the headers of a request to the last byte of its response, for transcribed recordings.',
      'endpoint',
      'model',
    );
    this.#firstText = histogram(
      'onehead_first_text_seconds',
      'Seconds from the headers of a request to the first text.',
      'model',
    );
    this.#audio = counter('onehead_audio_seconds_total', 'Seconds of transcribed audio.', 'model');
    this.#uploaded = counter('onehead_uploaded_bytes_total', 'Bytes of uploaded recordings.');
    this.#disconnected = counter(
      'onehead_clients_gone_total',
      'Clients that disconnected before their response was complete.',
      'endpoint',
    );
    this.#refused = counter('onehead_refused_total', 'Refused requests, by error code.', 'reason');
    this.#keyRequests = counter(
      'onehead_key_requests_total',
      "Requests, sockets and client secrets of each key: 'accepted', or 'limited' by the key's own limits.",
      'key',
      'outcome',
    );
    this.#keyAudio = counter(
      'onehead_key_audio_seconds_total',
      'Seconds of transcribed audio of each key, in recordings and realtime sessions.',
      'key',
    );
    this.#unobserve = observeEngines(client, registers);
    this.#failures = counter(
      'onehead_model_failures_total',
      'How often all devices of a model failed, so that it had to be loaded again.',
      'model',
    );
    for (const model of ids) {
      this.#audio.inc({ model }, 0);
      this.#failures.inc({ model }, 0);
    }
    this.#models = new ModelMetrics(client, registers, ids, loaded, failed);
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
    this.#models.unloading(id, whisper);
  }

  /** The metrics in Prometheus's text format. */
  render(): Promise<string> {
    return this.registry.metrics();
  }
}
