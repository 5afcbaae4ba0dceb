/** The page's modules as the server provides them, without a browser: subtitles and words. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formats } from '../../lib/formats/index.js';
import type { RunningServer } from '../../lib/server/index.js';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { startServer } from './support.js';

type Writers = Record<string, [type: string, write: (result: object) => string]>;

/** Segments with text that would break a subtitle file. */
const segments = [
  { id: 0, start: 0, end: 1.25, text: ' One\n\ntwo --> three' },
  { id: 1, start: 1.25, end: 3725.5, text: ' <b>Four</b> & five' },
  { id: 2, start: 3725.5, end: 3725.5, text: ' ' },
];

describe('modules of the page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-modules-'));
  let server: RunningServer;
  let writers: Writers;

  /** Stores a module and those that it imports, as a browser would fetch them. */
  async function download(path: string): Promise<string> {
    const response = await fetch(`${server.url}/page/${path}`);
    expect([path, response.status]).toEqual([path, 200]);
    expect(response.headers.get('content-type')).toMatch(/^text\/javascript/);
    const source = await response.text();
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, source);
    for (const [, imported] of source.matchAll(/from ['"](\.[^'"]+)['"]/g))
      await download(join(dirname(path), imported));
    return file;
  }

  beforeAll(async () => {
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    server = await startServer();
    const file = await download('subtitles.js');
    ({ writers } = (await import(pathToFileURL(file).href)) as { writers: Writers });
  });
  afterAll(async () => {
    await server?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('shows words with the blanks of the text', async () => {
    const { withBlanks } = (await import(pathToFileURL(await download('words.js')).href)) as {
      withBlanks(words: { word: string }[], text: string): { word: string; blank: string }[];
    };
    const shown = (text: string, ...words: string[]) =>
      withBlanks(
        words.map((word) => ({ word })),
        text,
      )
        .map(({ word, blank }) => blank + word)
        .join('');
    expect(shown('東京に 行く。', '東京', 'に', '行く。')).toBe('東京に 行く。');
    expect(shown('to be,\nor not to be', 'to', 'be,', 'or', 'not', 'to', 'be')).toBe('to be, or not to be');
    // Words that are not in the text are separated.
    expect(shown('一', '二', '三')).toBe(' 二 三');
  });

  it.each(['srt', 'vtt'] as const)('%s equals that of the library', (format) => {
    const expected = formats[format].write({ segments } as unknown as Transcription);
    expect(writers[format][1]({ segments })).toBe(expected);
    expect(expected).toContain('01:02:05');
  });

  it('of a result without segments are empty', () => {
    expect(writers.srt[1]({})).toBe('');
    expect(writers.vtt[1]({})).toBe('WEBVTT\n\n');
    expect(writers.txt[1]({ text: 'One.' })).toBe('One.\n');
  });
});
