/** Metrics of the served models and their engines, read when Prometheus requests them. */
import type { Counter, Gauge, Registry } from 'prom-client';
import type { Whisper } from '../../whisper/whisper.js';
import { engineCounters, engineGauges } from './engine-metrics.js';

type Client = typeof import('prom-client');

/** Returns the loaded models. */
export type LoadedModels = () => readonly { id: string; whisper: Whisper }[];
/** Returns the ids of the models whose devices have failed. */
export type FailedModels = () => readonly string[];

export class ModelMetrics {
  readonly #loaded: LoadedModels;
  /** Counts of unloaded models. The keys are JSON of metric, model and labels. */
  readonly #unloaded = new Map<string, number>();

  /** `ids` are the served models. */
  constructor(
    client: Client,
    registers: Registry[],
    ids: readonly string[],
    loaded: LoadedModels,
    failed: FailedModels,
  ) {
    this.#loaded = loaded;
    const state = (name: string, help: string, models: () => readonly string[]) =>
      new client.Gauge({
        name,
        help,
        labelNames: ['model'],
        registers,
        collect() {
          const inState = new Set(models());
          for (const model of ids) this.set({ model }, Number(inState.has(model)));
        },
      });
    state('onehead_model_failed', "Whether a model's devices have failed and it is not loaded again.", failed);
    state('onehead_model_loaded', 'Whether a model is loaded.', () => loaded().map(({ id }) => id));
    for (const gauge of engineGauges) this.#addGauge(client, registers, gauge);
    for (const counter of engineCounters) this.#addCounter(client, registers, counter);
  }

  #addGauge(client: Client, registers: Registry[], { name, help, read }: (typeof engineGauges)[number]): void {
    const loaded = this.#loaded;
    new client.Gauge({
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

  #addCounter(client: Client, registers: Registry[], { name, help, read }: (typeof engineCounters)[number]): void {
    const loaded = this.#loaded;
    const unloaded = this.#unloaded;
    new client.Counter({
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
}
