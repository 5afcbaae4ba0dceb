/** Finds a model's files: the bundled model, a folder, or the Hugging Face hub with its standard cache. */
import { access, readFile, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import type * as Hub from '@huggingface/hub';
import { OneheadError, shown } from '../../errors.js';
import { parseJson } from '../../json.js';
import { makeFolder } from '../../make-folder.js';
import { packageRoot } from '../../package-root.js';
import { statusOf } from '../files/bytes.js';
import type * as Blobs from './blob.js';
import { foreignFile, foreignFolder } from './foreign.js';
import { isModelFile } from './sources.js';

/** Imported when a hub name is first used, since it is large and most processes do not need it. */
const hub = (): Promise<typeof Hub> => import('@huggingface/hub');
/** Likewise imported for a download: node:crypto and node:stream take 2 MiB of memory. */
const blobs = (): Promise<typeof Blobs> => import('./blob.js');

interface ResolveOptions {
  onDownload?: (progress: { file: string; loaded: number; total: number | null }) => void;
  signal?: AbortSignal;
}

/** The folder of the bundled model. */
export function bundledModel(): string {
  return join(packageRoot(), 'models', 'micro');
}

interface HubName {
  repository: string;
  revision: string;
}

/** 'openai/whisper-tiny' or 'openai/whisper-tiny@revision'; null for anything else. */
function parseHubName(name: string): HubName | null {
  const match = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?$/.exec(name);
  if (!match || name.includes('..')) return null;
  return { repository: match[1], revision: match[2] ?? 'main' };
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * Finds a model's folder or file. `name` is a path, or a hub name such as 'openai/whisper-tiny'. A hub model is read
 * from the cache, and downloaded if it is not there; small files that the cache lacks are downloaded too. A cached
 * model is not updated; a name with a revision ('org/name@revision') selects another one. The environment variables
 * HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE apply. Throws OneheadError
 * MODEL_NOT_FOUND, MODEL_INVALID or DOWNLOAD_FAILED, or rejects with the signal's reason.
 */
export async function resolveModel(name: string, options: ResolveOptions = {}): Promise<string> {
  const status = await statusOf(name);
  if (status?.isDirectory()) return name;
  if (status && (await isModelFile(name))) return name;
  if (status) {
    const foreign = await foreignFile(name);
    throw new OneheadError(
      foreign ? 'MODEL_INVALID' : 'MODEL_NOT_FOUND',
      foreign
        ? `${shown(name)} is ${foreign}.`
        : `${shown(name)} is a file but not a model; give a folder or file of a Whisper checkpoint.`,
    );
  }
  const hubName = parseHubName(name);
  if (!hubName) {
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `There is no folder or file '${shown(name, 150)}', and it is not a hub name; give a path, or a hub name such as ` +
        'openai/whisper-tiny.',
    );
  }
  const { getHFHubCachePath, HubApiError } = await hub();
  const folder = join(getHFHubCachePath(), `models--${hubName.repository.replace('/', '--')}`);
  const cached = await cachedSnapshot(folder, hubName.revision);
  const missing = cached === null ? [] : await missingFiles(folder, cached);
  if (cached !== null && missing.length === 0) return cached;
  if (
    [process.env.HF_HUB_OFFLINE, process.env.TRANSFORMERS_OFFLINE].some((value) =>
      /^(1|true|yes|on)$/i.test(value ?? ''),
    )
  ) {
    if (cached !== null) return cached;
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `${shown(name, 100)} is not in the cache (${shown(folder, 100)}), and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the download; unset ` +
        'it, or copy the model there.',
    );
  }
  try {
    return await download(cached === null ? hubName : { ...hubName, revision: basename(cached) }, folder, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    // Of the small files only the tokenizer is required; the others have defaults.
    if (cached !== null && !missing.includes('tokenizer.json')) return cached;
    throw downloadError(error, name, error instanceof HubApiError ? error.statusCode : null);
  }
}

/**
 * Returns the cached snapshot of a revision, if it has config.json and all weights; other programs may have made it.
 */
async function cachedSnapshot(folder: string, revision: string): Promise<string | null> {
  const commit = /^[0-9a-f]{40}$/.test(revision)
    ? revision
    : (await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')).trim();
  if (!/^[0-9a-f]{40}$/.test(commit)) return null;
  const snapshot = join(folder, 'snapshots', commit);
  if (!(await exists(join(snapshot, 'config.json')))) return null;
  for (const { file, index, companions } of weightForms) {
    if ((await exists(join(snapshot, file))) && (await anyOf(companions, (name) => exists(join(snapshot, name))))) {
      return snapshot;
    }
    const text = index === null ? null : await readFile(join(snapshot, index), 'utf8').catch(() => null);
    if (text === null) continue;
    const present = await Promise.all((await shardsOf(text)).map((shard) => exists(join(snapshot, shard))));
    if (present.every(Boolean)) return snapshot;
  }
  return null;
}

/**
 * The forms of weights in repositories, in order of preference: a single file, or an index of several. If `companions`
 * has names, at least one of these files is required too.
 */
const weightForms: { file: string; index: string | null; companions: string[] }[] = [
  { file: 'model.safetensors', index: 'model.safetensors.index.json', companions: [] },
  { file: 'model.bin', index: null, companions: ['vocabulary.json', 'vocabulary.txt'] }, // CTranslate2's
  { file: 'pytorch_model.bin', index: 'pytorch_model.bin.index.json', companions: [] },
];

/** True if one of the names passes, or if there are no names. */
async function anyOf(names: readonly string[], passes: (name: string) => boolean | Promise<boolean>): Promise<boolean> {
  return names.length === 0 || (await Promise.all(names.map(passes))).includes(true);
}

/** Returns the file names in an index of weights. */
async function shardsOf(index: string): Promise<string[]> {
  try {
    const { weight_map: map } = parseJson(index) as { weight_map?: Record<string, unknown> };
    return [...new Set(Object.values(map ?? {}))].filter((shard): shard is string => typeof shard === 'string');
  } catch {
    return [];
  }
}

/** Other files of a model, besides config.json and the weights: all files of one alternative from each line. */
const smallFiles = [
  [['generation_config.json']],
  [['preprocessor_config.json'], ['processor_config.json']],
  [['tokenizer.json'], ['vocab.json', 'merges.txt'], ['vocabulary.json'], ['vocabulary.txt']],
];
/** The parts of a tokenizer without tokenizer.json. */
const tokenizerParts = [
  ...['vocab.json', 'merges.txt', 'added_tokens.json', 'special_tokens_map.json'],
  ...['vocabulary.json', 'vocabulary.txt'], // CTranslate2's
];
const downloadedFiles = ['config.json', ...smallFiles.slice(0, 2).flat(2), 'tokenizer.json', 'tokenizer_config.json'];

/** The empty file by which Python's huggingface_hub marks that a revision has no file of this name. */
const absenceMarker = (folder: string, commit: string, name: string) => join(folder, '.no_exist', commit, name);

/**
 * Returns the small files that a cached snapshot lacks, by the first name of their line in `smallFiles`: other programs
 * download only those that they need. Files that the repository is known to lack are not included.
 */
async function missingFiles(folder: string, snapshot: string): Promise<string[]> {
  const commit = basename(snapshot);
  const allExist = async (names: string[], pathOf: (name: string) => string) =>
    (await Promise.all(names.map((name) => exists(pathOf(name))))).every(Boolean);
  const missing: string[] = [];
  for (const alternatives of smallFiles) {
    const present = await Promise.all(alternatives.map((names) => allExist(names, (name) => join(snapshot, name))));
    const isMarked = await allExist(alternatives.flat(), (name) => absenceMarker(folder, commit, name));
    if (!present.includes(true) && !isMarked) missing.push(alternatives[0][0]);
  }
  return missing;
}

async function accessToken(): Promise<string | undefined> {
  const token = process.env.HF_TOKEN ?? process.env.HUGGING_FACE_HUB_TOKEN;
  if (token) return token;
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const stored = await readFile(process.env.HF_TOKEN_PATH ?? join(home, 'token'), 'utf8').catch(() => '');
  return stored.trim() || undefined;
}

async function download({ repository, revision }: HubName, folder: string, options: ResolveOptions): Promise<string> {
  const { signal } = options;
  const { modelInfo } = await hub();
  const common = {
    hubUrl: process.env.HF_ENDPOINT?.replace(/\/+$/, ''),
    accessToken: await accessToken(),
    fetch: ((input, init) => fetch(input, { ...init, signal })) as typeof fetch,
  };
  const info = await modelInfo({ ...common, name: repository, revision, additionalFields: ['sha', 'filePaths'] });
  const { sha, filePaths } = info;
  if (!/^[0-9a-f]{40}$/.test(sha)) throw new Error(`the hub returned no commit for revision '${shown(revision, 60)}'`);
  const listed = new Set(filePaths);
  const snapshot = join(folder, 'snapshots', sha);
  const fetchFile = (path: string) => downloadOne(path, { repository, sha, folder, snapshot, common, options });

  let weights: (typeof weightForms)[number] | undefined;
  for (const form of weightForms) {
    const isListed = listed.has(form.file)
      ? anyOf(form.companions, (name) => listed.has(name))
      : form.index && listed.has(form.index);
    if (!weights && (await isListed)) weights = form;
  }
  if (!weights) {
    const foreign =
      foreignFolder(filePaths) ?? 'a repository without model.safetensors: export it with save_pretrained';
    throw new OneheadError('MODEL_INVALID', `${repository} is ${foreign}.`);
  }
  for (const path of listed.has('tokenizer.json') ? downloadedFiles : [...downloadedFiles, ...tokenizerParts]) {
    if (listed.has(path)) {
      await fetchFile(path);
    } else {
      const marker = absenceMarker(folder, sha, path);
      makeFolder(dirname(marker));
      await writeFile(marker, '');
    }
  }
  const { file, index, companions } = weights;
  for (const name of companions) if (listed.has(name)) await fetchFile(name);
  if (index === null || listed.has(file)) {
    await fetchFile(file);
  } else {
    await fetchFile(index);
    const shards = await shardsOf(await readFile(join(snapshot, index), 'utf8'));
    for (const shard of shards) if (listed.has(shard)) await fetchFile(shard);
  }
  if (revision === sha) return snapshot;
  // Written last, so that an interrupted download does not count as complete.
  makeFolder(dirname(join(folder, 'refs', revision)));
  await writeFile(join(folder, 'refs', revision), sha);
  return snapshot;
}

interface FileDownload {
  repository: string;
  sha: string;
  folder: string;
  snapshot: string;
  common: { hubUrl?: string; accessToken?: string; fetch: typeof fetch };
  options: ResolveOptions;
}

/** Downloads a file to the cache. It gets its final name when it is complete. */
async function downloadOne(
  path: string,
  { repository, sha, folder, snapshot, common, options }: FileDownload,
): Promise<void> {
  const pointer = join(snapshot, path);
  if (path.split('/').includes('..')) throw new Error(`the hub lists a file outside the model: '${shown(path, 100)}'`);
  if (await exists(pointer)) return;
  const { downloadFile, fileDownloadInfo } = await hub();
  const from = { ...common, repo: repository, path, revision: sha };
  const info = await fileDownloadInfo(from);
  const absent = () => new Error(`the hub lists ${shown(path, 100)} but does not have it`);
  if (!info) throw absent();
  const etag = info.etag.replace(/^W\//, '').replaceAll('"', '');
  if (!/^[\w.-]+$/.test(etag)) throw new Error(`the hub returned an invalid ETag for ${shown(path, 100)}`);
  const onBytes = (loaded: number) => options.onDownload?.({ file: path, loaded, total: info.size });
  const target = join(folder, 'blobs', etag);
  const { readableOf, storeBlob } = await blobs();
  await storeBlob(target, {
    name: path,
    size: info.size,
    // Of a large file the hub's ETag is the SHA-256.
    sha256: /^[0-9a-f]{64}$/.test(etag) ? etag : null,
    async content() {
      const blob = await downloadFile({ ...from, downloadInfo: info });
      if (!blob) throw absent();
      return readableOf(blob);
    },
    onBytes,
    signal: options.signal,
  });
  makeFolder(dirname(pointer));
  await symlink(relative(dirname(pointer), target), pointer).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error; // another process made it
  });
}

/** Converts the error of a failed download to one that says what to do. */
function downloadError(error: unknown, name: string, statusCode: number | null): OneheadError {
  if (error instanceof OneheadError) return error;
  const failed = (reason: string) =>
    new OneheadError('DOWNLOAD_FAILED', `${shown(name, 100)} could not be downloaded: ${reason}.`, { cause: error });
  if (statusCode !== null) {
    // The hub also answers 401 for names that do not exist, to hide which private ones do.
    if (statusCode === 401 || statusCode === 403) {
      return failed(
        'it does not exist on the hub, or it is private or gated; check the name, or set HF_TOKEN to a token that may read it',
      );
    }
    if (statusCode === 404) {
      return new OneheadError('MODEL_NOT_FOUND', `The hub has no model or revision '${shown(name)}'; check the name.`, {
        cause: error,
      });
    }
    return failed(`the hub answered with status ${statusCode}; try again later`);
  }
  const { code, message, cause } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC') return failed('the disk of the cache is full; free some space or set HF_HOME to another disk');
  if (code === 'EACCES') return failed('the cache folder is not writable; set HF_HOME to a folder that is');
  const reason = cause instanceof Error && cause.message ? cause.message : message;
  return failed(
    `${shown(reason, 200)}; check the network connection and HF_ENDPOINT, or give the folder of a downloaded model`,
  );
}
