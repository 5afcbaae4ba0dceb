/** Results: one record for each audio, model and options, and from it the output formats under the recording's name. */
import type { FormatName, FormatOptions } from '../formats/index.js';
import { formats } from '../formats/index.js';
import type { Journal } from '../whisper/decoding/journal.js';
import type { Transcription } from '../whisper/transcription/types.js';
import { optionsDigest } from './digest.js';
import type { Recording } from './queue.js';
import type { Store } from './store.js';

/** A stored result. It has no timings, so that the same work gives the same bytes. */
export interface ResultRecord {
  transcription: Transcription;
}

/** The first two letters of a key are a folder, since folders with a hundred thousand files are slow. */
const under = (what: string, key: string) => `.onehead/${what}/${key.slice(0, 2)}/${key.slice(2)}`;

type NamedRecording = Pick<Recording, 'id' | 'name' | 'source' | 'options'>;

/** Maximum bytes of a path's part, which leaves room for '.verbose.json' and part of an id: file systems allow 255. */
const maxPartBytes = 220;

/** A name whose parts every file system supports; a shortened name includes part of the id to stay unique. */
function storable(name: string, id: string): string {
  const short = (part: string) => {
    if (Buffer.byteLength(part) <= maxPartBytes) return part;
    let kept = '';
    for (const letter of part) {
      if (Buffer.byteLength(kept + letter) > maxPartBytes - 10) break;
      kept += letter;
    }
    return `${kept} ${id.slice(0, 8)}`;
  };
  return name.split('/').map(short).join('/');
}

/** The recording that owns a name; null if the entry is damaged. */
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

  constructor(store: Store, wanted: readonly FormatName[], formatOptions: FormatOptions = {}) {
    this.#store = store;
    this.#formats = wanted;
    this.#formatOptions = formatOptions;
  }

  /** The existing result; an unreadable one counts as missing. */
  async find(key: string): Promise<ResultRecord | null> {
    const bytes = await this.#store.read(`${under('results', key)}.json`);
    if (bytes === null) return null;
    try {
      const record = JSON.parse(bytes.toString('utf8')) as ResultRecord;
      return Array.isArray(record.transcription.segments) ? record : null;
    } catch {
      return null;
    }
  }

  /** Stores a result unless one exists: a worker that lost its claim changes nothing. Returns the result in force. */
  async keep(key: string, record: ResultRecord): Promise<ResultRecord> {
    const name = `${under('results', key)}.json`;
    const bytes = Buffer.from(`${JSON.stringify(record)}\n`);
    if (await this.#store.create(name, bytes)) return record;
    const there = await this.find(key);
    // The existing record was damaged.
    if (there === null) await this.#store.write(name, bytes);
    return there ?? record;
  }

  /**
   * Writes the formats under the recording's name; repeating it writes the same. If another recording has the name
   * (/monday/talk.wav and /tuesday/talk.wav), or the same one with other options, part of the id is appended.
   */
  async write(recording: NamedRecording, key: string, { transcription }: ResultRecord): Promise<void> {
    const name = await this.#nameOf(recording, key);
    for (const format of this.#formats) {
      const text = formats[format].write(transcription, this.#formatOptions);
      await this.#store.write(`${name}.${formats[format].extension}`, Buffer.from(text));
    }
  }

  async #nameOf({ id, name: wanted, source, options }: NamedRecording, key: string): Promise<string> {
    const name = storable(wanted, id);
    const place = `.onehead/names/${name}.json`;
    const digest = optionsDigest(options);
    const owner = Buffer.from(`${JSON.stringify({ source, options: digest, key })}\n`);
    if (await this.#store.create(place, owner)) return name;
    const there = ownerOf(await this.#store.read(place));
    if (there === null) await this.#store.write(place, owner);
    if (there === null || there.key === key) return name; // the same audio, from another place perhaps
    // A new version of the same recording replaces the old one.
    if (there.source === source && there.options === digest) return name;
    return `${name} (${id.slice(0, 8)})`;
  }

  /** Stores the finished part of a recording that failed midway. */
  async writePartial({ id, name }: NamedRecording, transcription: Transcription): Promise<void> {
    const text = formats.verbose_json.write(transcription, this.#formatOptions);
    await this.#store.write(`.onehead/partial/${storable(name, id)}.json`, Buffer.from(text));
  }

  journal(key: string, attempt: number): StoredJournal {
    return new StoredJournal(this.#store, under('journals', key), attempt);
  }
}

/** Results of windows, stored in parts, so that another worker finds them. */
export class StoredJournal implements Journal {
  readonly #store: Store;
  readonly #folder: string;
  readonly #attempt: number;
  readonly #entries = new Map<string, string>();
  /** Entries that are not stored yet. */
  #fresh = new Map<string, string>();
  #pieces = 0;
  /** True if the store has parts of it. */
  #stored = false;

  constructor(store: Store, folder: string, attempt: number) {
    this.#store = store;
    this.#folder = folder;
    this.#attempt = attempt;
  }

  /** Reads the parts of earlier attempts. A damaged part is skipped: its windows are decoded again. */
  async load(): Promise<void> {
    for (const key of await this.#store.list(this.#folder)) {
      this.#stored = true;
      const bytes = await this.#store.read(key);
      try {
        for (const [window, found] of JSON.parse(bytes?.toString('utf8') ?? '[]') as [string, string][]) {
          this.#entries.set(window, found);
        }
      } catch {}
    }
  }

  /** Number of known windows. */
  get size(): number {
    return this.#entries.size;
  }

  find(window: string): string | undefined {
    return this.#entries.get(window);
  }

  keep(window: string, found: string): void {
    this.#entries.set(window, found);
    this.#fresh.set(window, found);
  }

  /** Stores new entries. */
  async flush(): Promise<void> {
    if (this.#fresh.size === 0) return;
    const fresh = this.#fresh;
    this.#fresh = new Map();
    const number = (value: number) => String(value).padStart(6, '0');
    const name = `${this.#folder}/${number(this.#attempt)}-${number(this.#pieces)}.json`;
    this.#pieces += 1;
    this.#stored = true;
    try {
      await this.#store.write(name, Buffer.from(JSON.stringify([...fresh])));
    } catch (error) {
      for (const [window, found] of fresh) this.#fresh.set(window, found);
      throw error;
    }
  }

  /** Removes the journal after the result was stored. */
  async remove(): Promise<void> {
    if (!this.#stored) return;
    for (const key of await this.#store.list(this.#folder)) await this.#store.remove(key);
  }
}
