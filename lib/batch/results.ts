/** Results in a store: a record for each combination of audio, model and options; and output formats by name. */
import type { FormatName, FormatOptions } from '../formats/index.js';
import { formats } from '../formats/index.js';
import type { Journal } from '../whisper/decoding/journal.js';
import type { Transcription } from '../whisper/transcription/types.js';
import { optionsDigest } from './digest.js';
import type { Recording } from './queue.js';
import type { Store } from './store.js';

/** A stored result. It contains no timings, so that the same work gives the same bytes. */
export interface ResultRecord {
  transcription: Transcription;
}

/** Divides keys among folders by their first two characters, since folders with a hundred thousand files are slow. */
const pathOf = (kind: string, key: string) => `.onehead/${kind}/${key.slice(0, 2)}/${key.slice(2)}`;

type NamedRecording = Pick<Recording, 'id' | 'name' | 'source' | 'options'>;

/** Maximum bytes of a path's component. File systems allow 255; the rest is for an extension and part of an id. */
const maxComponentBytes = 220;

/** Shortens the components of a name if necessary. A shortened one includes part of the id, which makes it unique. */
function limitLength(name: string, id: string): string {
  const limitComponent = (component: string) => {
    if (Buffer.byteLength(component) <= maxComponentBytes) return component;
    let shortened = '';
    for (const character of component) {
      if (Buffer.byteLength(shortened + character) > maxComponentBytes - 10) break;
      shortened += character;
    }
    return `${shortened} ${id.slice(0, 8)}`;
  };
  return name.split('/').map(limitComponent).join('/');
}

/** The recording to which a name belongs; null if the entry is damaged. */
function ownerOf(bytes: Buffer | null): Record<'source' | 'options' | 'key', unknown> | null {
  try {
    const { source, options, key } = JSON.parse(bytes?.toString('utf8') ?? '');
    return { source, options, key };
  } catch {
    return null;
  }
}

export class Results {
  readonly #store: Store;
  readonly #formats: readonly FormatName[];
  readonly #formatOptions: FormatOptions;

  constructor(store: Store, outputFormats: readonly FormatName[], formatOptions: FormatOptions = {}) {
    this.#store = store;
    this.#formats = outputFormats;
    this.#formatOptions = formatOptions;
  }

  /** The stored result; null if there is none, or it is damaged. */
  async find(key: string): Promise<ResultRecord | null> {
    const bytes = await this.#store.read(`${pathOf('results', key)}.json`);
    if (bytes === null) return null;
    try {
      const record = JSON.parse(bytes.toString('utf8')) as ResultRecord;
      return Array.isArray(record.transcription.segments) ? record : null;
    } catch {
      return null;
    }
  }

  /** Stores a result unless one exists, so that the first of two workers counts. Returns the stored result. */
  async keep(key: string, record: ResultRecord): Promise<ResultRecord> {
    const name = `${pathOf('results', key)}.json`;
    const bytes = Buffer.from(`${JSON.stringify(record)}\n`);
    if (await this.#store.create(name, bytes)) return record;
    const existing = await this.find(key);
    // A damaged record is replaced.
    if (existing === null) await this.#store.write(name, bytes);
    return existing ?? record;
  }

  /**
   * Writes the output formats under the recording's name. If another recording has the name (/monday/talk.wav and
   * /tuesday/talk.wav), or the same one with other options, part of the id is appended. Can be repeated.
   */
  async write(recording: NamedRecording, key: string, { transcription }: ResultRecord): Promise<void> {
    const name = await this.#nameOf(recording, key);
    for (const format of this.#formats) {
      const text = formats[format].write(transcription, this.#formatOptions);
      await this.#store.write(`${name}.${formats[format].extension}`, Buffer.from(text));
    }
  }

  async #nameOf(recording: NamedRecording, key: string): Promise<string> {
    const { id, source, options } = recording;
    const name = limitLength(recording.name, id);
    const path = `.onehead/names/${name}.json`;
    const digest = optionsDigest(options);
    const bytes = Buffer.from(`${JSON.stringify({ source, options: digest, key })}\n`);
    if (await this.#store.create(path, bytes)) return name;
    const owner = ownerOf(await this.#store.read(path));
    if (owner === null) await this.#store.write(path, bytes);
    if (owner === null || owner.key === key) return name; // the same audio, perhaps from another source
    // A new version of the same recording replaces the old one.
    if (owner.source === source && owner.options === digest) return name;
    return `${name} (${id.slice(0, 8)})`;
  }

  /** Stores the transcription of the part of a recording before a failure. */
  async writePartial({ id, name }: NamedRecording, transcription: Transcription): Promise<void> {
    const text = formats.verbose_json.write(transcription, this.#formatOptions);
    await this.#store.write(`.onehead/partial/${limitLength(name, id)}.json`, Buffer.from(text));
  }

  journal(key: string, attempt: number): StoredJournal {
    return new StoredJournal(this.#store, pathOf('journals', key), attempt);
  }
}

/** A journal in a store, where another worker finds it. Each `flush` writes a part of it. */
export class StoredJournal implements Journal {
  readonly #store: Store;
  readonly #folder: string;
  readonly #attempt: number;
  readonly #entries = new Map<string, string>();
  /** Entries that are not stored yet. */
  #unsaved = new Map<string, string>();
  #parts = 0;
  /** Settles when the last part is stored. */
  #saving: Promise<void> = Promise.resolve();
  /** True if the store contains parts of this journal. */
  #stored = false;

  constructor(store: Store, folder: string, attempt: number) {
    this.#store = store;
    this.#folder = folder;
    this.#attempt = attempt;
  }

  /** Reads the parts of earlier attempts. Damaged parts are skipped, so their windows are decoded again. */
  async load(): Promise<void> {
    for (const key of await this.#store.list(this.#folder)) {
      this.#stored = true;
      // A process that is started again may count attempts from 1 again.
      const [, attempt, part] = /(\d+)-(\d+)\.json$/.exec(key) ?? [];
      if (Number(attempt) === this.#attempt) this.#parts = Math.max(this.#parts, Number(part) + 1);
      const bytes = await this.#store.read(key);
      try {
        for (const [window, entry] of JSON.parse(bytes?.toString('utf8') ?? '[]') as [string, string][]) {
          this.#entries.set(window, entry);
        }
      } catch {}
    }
  }

  /** The number of windows. */
  get size(): number {
    return this.#entries.size;
  }

  find(window: string): string | undefined {
    return this.#entries.get(window);
  }

  keep(window: string, entry: string): void {
    this.#entries.set(window, entry);
    this.#unsaved.set(window, entry);
  }

  /** Stores new entries. Resolves once these and all earlier ones are stored: then another worker finds them. */
  flush(): Promise<void> {
    this.#saving = this.#saving.catch(() => {}).then(() => this.#save());
    return this.#saving;
  }

  async #save(): Promise<void> {
    if (this.#unsaved.size === 0) return;
    const unsaved = this.#unsaved;
    this.#unsaved = new Map();
    const digits = (value: number) => String(value).padStart(6, '0');
    const name = `${this.#folder}/${digits(this.#attempt)}-${digits(this.#parts)}.json`;
    this.#parts += 1;
    this.#stored = true;
    try {
      await this.#store.write(name, Buffer.from(JSON.stringify([...unsaved])));
    } catch (error) {
      for (const [window, entry] of unsaved) this.#unsaved.set(window, entry);
      throw error;
    }
  }

  /** Removes the journal after the result was stored. */
  async remove(): Promise<void> {
    await this.#saving.catch(() => {});
    if (!this.#stored) return;
    for (const key of await this.#store.list(this.#folder)) await this.#store.remove(key);
  }
}
