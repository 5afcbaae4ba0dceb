/** The served models' names and states. */
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { OneheadError } from '../../errors.js';
import type { Whisper } from '../../whisper/whisper.js';
import type { CheckedServerOptions, ServedModel } from './options.js';

/** Why a model cannot be used. */
export interface ModelFailure {
  /** 'load' if it could not be loaded, 'device' if its devices failed after that. */
  kind: 'load' | 'device';
  message: string;
  /** On `performance`'s clock. */
  since: number;
  /** True if a model whose devices failed could not be loaded again, or is not this server's to load. */
  reloadFailed: boolean;
}

/** The state of a served model. */
export class Entry {
  readonly served: ServedModel;
  readonly created = Math.floor(Date.now() / 1000);
  loading: Promise<Whisper> | null = null;
  whisper: Whisper | null = null;
  used = 0;
  /** When it was last released, on `performance`'s clock. */
  releasedAt = 0;
  unloadTimer: NodeJS.Timeout | undefined;
  /** When it was last loaded, on `performance`'s clock. */
  loadedAt = 0;
  /** True once it was loaded. */
  wasLoaded: boolean;
  /** True if it is loaded again until that succeeds, not only for requests. */
  wanted = false;
  failure: ModelFailure | null = null;
  /** Attempts to load it again, since it last worked for a while. */
  attempts = 0;
  /** When the next attempt is due, on `performance`'s clock. */
  retryAt = 0;
  retryTimer: NodeJS.Timeout | undefined;

  constructor(served: ServedModel) {
    this.served = served;
    this.whisper = served.whisper ?? null;
    this.wasLoaded = this.whisper !== null;
  }

  /** True if Models loads and disposes of the model, not the caller who created the server. */
  get owned(): boolean {
    return this.served.whisper === undefined;
  }
}

/** The id of a model: its name in the hub, or the last part of its folder's path. */
const idOf = (name: string): string => (existsSync(name) ? basename(resolve(name)) : name);

/**
 * The models by id, folder or hub name, and alias. Throws OneheadError INVALID_ARGUMENT for duplicate names and for an
 * alias of an unknown model.
 */
export function entriesOf({ models = [], alias }: Pick<CheckedServerOptions, 'models' | 'alias'>): Map<string, Entry> {
  const served = (models.length > 0 ? models : [{ id: 'onehead-micro' }]).map((model) =>
    typeof model === 'string' ? { id: idOf(model), model } : model,
  );
  const names = new Map<string, Entry>();
  const add = (name: string, entry: Entry) => {
    const other = names.get(name);
    if (other && other !== entry) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Two models have the name ${name}; give one of them another alias or id.`,
        {
          argument: 'models',
        },
      );
    }
    names.set(name, entry);
  };
  for (const model of served) {
    const entry = new Entry(model);
    add(model.id, entry);
    if (model.model !== undefined) add(model.model, entry);
  }
  for (const [name, target] of Object.entries(alias ?? {})) {
    const entry = names.get(target);
    if (!entry) {
      const known = [...names.keys()].join(', ');
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `The alias ${name} refers to ${target}, which is not served; the served models are ${known}.`,
        {
          argument: 'alias',
        },
      );
    }
    add(name, entry);
  }
  if (!names.has('whisper-1')) names.set('whisper-1', names.values().next().value!);
  return names;
}
