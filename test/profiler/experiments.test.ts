import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { experimentNames, experiments, settingsOf } from '../../lib/profiler/experiments/index.js';
import type { ProfileOptions } from '../../lib/profiler/experiments/options.js';
import { type ExperimentResult, readResults, toCsv, writeResults } from '../../lib/profiler/measuring/result.js';
import { toMarkdown, toText } from '../../lib/profiler/report/figures.js';
import { namesTable } from '../../lib/profiler/report/names.js';
import { toSvg } from '../../lib/profiler/report/render.js';
import { profile } from '../../lib/profiler/run.js';
import { tablesOf, writeReport } from '../../lib/profiler/write-report.js';
import { cudaKind } from '../device/devices.js';

/** Small enough for a test; two samples are enough to check that samples are taken. */
const small: ProfileOptions = { threads: 2, repeats: 2, seconds: 0.01, dtype: 'float32' };
const shapes: Record<(typeof experimentNames)[number], ProfileOptions> = {
  'attention-types': { batches: [1, 2], lengths: [5, 16], heads: 2, headSize: 16 },
  generate: { layers: 2, heads: 2, headSize: 16, vocabulary: 50, batches: [2], prompt: 3, tokens: 4 },
  'whisper-mqa': { models: ['micro'], decoderLayers: [1], batches: [1, 2], tokens: 3 },
  'whisper-flash': { models: ['micro'], decoderLayers: [1], batches: [1], tokens: 3 },
  'cross-cache': { models: ['micro'], batches: [1, 2], tokens: 3 },
  'audio-context': { margins: [0, 2] },
  io: { models: ['micro'], batches: [1, 2], tokens: 3 },
  precision: { models: ['micro'], batches: [1, 2], tokens: 3, dtype: 'bfloat16' },
};
const run = (name: (typeof experimentNames)[number], options: ProfileOptions = {}) =>
  profile(name, { ...small, ...shapes[name], ...options });

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-profile-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const cases = (result: ExperimentResult, field: string) => [...new Set(result.rows.map((row) => row.case[field]))];

describe.each(experimentNames)('%s', (name) => {
  it('measures every variant of every case, and its result can be stored, shown as a table and plotted', async () => {
    const traced: string[] = [];
    const result = await run(name, { onTrace: (track) => traced.push(track) });
    expect(result.complete).toBe(true);
    expect(result.rows.length).toBeGreaterThan(0);
    for (const { case: what, time, note } of result.rows) {
      expect(note, JSON.stringify(what)).toBeUndefined();
      expect(time?.count, JSON.stringify(what)).toBeGreaterThanOrEqual(2);
      expect(time?.median).toBeGreaterThanOrEqual(0);
    }
    expect(new Set(result.rows.map((row) => JSON.stringify(row.case))).size).toBe(result.rows.length);
    // Whole transcriptions consist of many programs, so they have no trace.
    const programs = name === 'audio-context' ? 0 : cases(result, 'variant').length;
    expect(traced.length).toBeGreaterThanOrEqual(programs);
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);

    const { charts } = experiments[name];
    const tables = tablesOf(result);
    expect(tables[0].title).toMatch(/^Number of cases in which a variant was faster or slower than /);
    // The page explains every name in tables and plots.
    const explained = namesTable([result]).rows.map(([one]) => one);
    for (const one of cases(result, 'variant')) if (!/^\d+ s$/.test(String(one))) expect(explained).toContain(one);
    for (const one of [...cases(result, 'stage'), ...cases(result, 'operation')])
      if (one !== undefined) expect(explained).toContain(one);
    for (const table of tables) {
      expect(table.rows.length).toBeGreaterThan(0);
      for (const row of table.rows) expect(row.length).toBe(table.columns.length);
      expect(toText(table) + toMarkdown(table)).not.toMatch(/undefined|NaN|Infinity/);
    }
    for (const chart of charts(result)) {
      const svg = await toSvg(chart);
      expect(svg).toMatch(/^<svg [^>]*><title>[^<]+<\/title>[\s\S]*<\/svg>\s*$/);
      expect(svg).not.toMatch(/undefined|NaN/);
    }
  });
});

it('short sequences are not measured more often than `repeats`', async () => {
  const { rows } = await run('attention-types', { batches: [1], lengths: [1, 2], seconds: 1 });
  expect([...new Set(rows.map(({ time }) => time?.count))]).toEqual([2]);
});

it.each(['io', 'precision', 'cross-cache'] as const)('%s goes on if a batch does not fit into memory', async (name) => {
  const batches = [10_000_000, 1];
  const result = await run(name, { batches });
  expect(result.complete).toBe(true);
  const refused = result.rows.filter(({ time }) => time === null);
  expect(refused.length).toBe(cases(result, 'variant').length);
  for (const { case: what, note } of refused) {
    expect(what.batch).toBe(batches[0]);
    expect(note).toMatch(/could not allocate/);
  }
  expect(result.rows.some(({ time, case: what }) => time && what.batch === 1)).toBe(true);
  // The tables refer to the reason, which is explained below them.
  const texts = tablesOf(result).map(toText);
  expect(texts.join('\n')).toMatch(/ \(1\)[\s\S]*\(1\) .*could not allocate/);
  for (const chart of experiments[name].charts(result)) expect(await toSvg(chart)).not.toMatch(/undefined|NaN/);
});

describe('audio-context', () => {
  it('counts errors, positions and second encodings by margin', async () => {
    const { rows } = await run('audio-context', { margins: [0, 2] });
    expect(rows.map((row) => row.case.variant)).toEqual(['full', '0 s', '2 s']);
    const [full, none, two] = rows.map(({ figures }) => figures);
    expect(full).toMatchObject({ wordErrorRate: 0, positions: 500, encodedAgain: 0 });
    expect(none.positions).toBeLessThan(two.positions);
    expect(two.positions).toBeLessThan(500);
  });

  it('uses given recordings with their texts', async () => {
    const folder = await temporaryFolder();
    const models = new URL('../../models/', import.meta.url).pathname;
    await writeFile(join(folder, 'a.flac'), await readFile(`${models}micro/sample.flac`));
    await writeFile(join(folder, 'a.txt'), 'We will return on Thursday.');
    const { rows } = await run('audio-context', { margins: [2], audio: folder, model: `${models}micro-mqa` });
    expect(rows[0].case.model).toBe('micro-mqa');
    // Thirteen more words than in the text.
    expect(rows[0].figures.wordErrorRate).toBeGreaterThan(2);
  });

  it('refuses what it cannot measure', async () => {
    const refused = { code: 'INVALID_ARGUMENT' };
    // Random weights produce no text, so `all` leaves out its `models` too.
    expect(settingsOf('audio-context')).not.toContain('models');
    expect(settingsOf('audio-context')).toContain('model');
    await expect(run('audio-context', { models: ['tiny'] })).rejects.toMatchObject(refused);
    await expect(run('audio-context', { margins: [-1] })).rejects.toMatchObject(refused);
    await expect(run('audio-context', { margins: [] })).rejects.toMatchObject(refused);
    await expect(run('io', { margins: [1] })).rejects.toMatchObject(refused);
  });
});

describe(`on ${cudaKind}`, () => {
  const least: ProfileOptions = { device: cudaKind, threads: undefined, repeats: 1, batches: [1] };

  it('attention types are measured by stages', async () => {
    const result = await run('attention-types', { ...least, lengths: [16] });
    expect(result.settings).toMatchObject({ device: cudaKind });
    expect(result.rows.filter(({ note }) => note)).toEqual([]);
    const of = (variant: string) =>
      result.rows.filter((row) => row.case.variant === variant).map((row) => row.case.stage);
    expect(of('multi-head')).toEqual(['query, key, value', 'scores', 'softmax', 'values', 'total']);
    expect(of('multi-query-1').toSorted()).toEqual([
      'query, key, value',
      'scores',
      'softmax',
      'split',
      'total',
      'values',
    ]);
  });

  it('a decode step is compared with the I/O model', async () => {
    const result = await run('io', { ...least, tokens: 1, dtype: 'float16' });
    expect(result.rows.filter(({ note }) => note)).toEqual([]);
    expect(cases(result, 'operation')).toEqual(expect.arrayContaining(['cross query', 'cross-attention']));
    expect(result.facts.bytesPerSecond).toBeGreaterThan(0);
  });
});

describe('the compared variants', () => {
  it('attention-types: the sources’ three algorithms and the streaming one, by stages', async () => {
    const result = await run('attention-types');
    expect(cases(result, 'variant')).toEqual([
      'multi-head',
      'multi-query',
      'multi-query-1',
      'memory-efficient',
      'memory-efficient, shared',
    ]);
    const stages = (variant: string) =>
      result.rows
        .filter((row) => row.case.variant === variant && row.case.length === 16 && row.case.batch === 2)
        .map((row) => row.case.stage);
    expect(stages('multi-head')).toEqual(['query, key, value', 'scores', 'softmax', 'values', 'total']);
    expect(stages('multi-query-1')).toEqual(['query, key, value', 'split', 'scores', 'softmax', 'values', 'total']);
    expect(stages('memory-efficient')).toEqual(['query, key, value', 'attention', 'total']);
    const total = result.rows.find((row) => row.case.stage === 'total' && row.case.length === 16)!;
    // Projections of 96 columns from 32, and two products of 16 x 16 x 32.
    expect(total.figures.operations).toBe(2 * 16 * 32 * 96 + 2 * 2 * 16 * 16 * 32);
  });

  it('whisper-mqa: parameters and caches shrink with the heads of each part', async () => {
    const { rows } = await run('whisper-mqa');
    const figure = (variant: string, name: string) =>
      rows.find((row) => row.case.variant === variant && row.case.stage === 'total' && row.case.decoderLayers === 3)!
        .figures[name];
    // Four heads of 32 become one: keys and values lose 96 of 128 rows of 128 elements, and values 96 of 128 biases.
    const saved = 2 * 96 * 128 + 96;
    const parameters = (variant: string) => figure('multi-head', 'parameters') - figure(variant, 'parameters');
    expect(parameters('multi-query encoder')).toBe(6 * saved);
    expect(parameters('multi-query self-attention')).toBe(3 * saved);
    expect(parameters('multi-query everywhere')).toBe(12 * saved);
    expect(figure('multi-query cross-attention', 'crossCacheBytes')).toBe(figure('multi-head', 'crossCacheBytes') / 4);
    expect(figure('multi-query everywhere', 'memoryBytes')).toBeLessThan(figure('multi-head', 'memoryBytes'));
    expect(figure('multi-head', 'compression')).toBe(1);
  });

  it('whisper-flash: the score matrix is visible in the memory', async () => {
    const { rows } = await run('whisper-flash');
    const memory = (variant: string) =>
      rows.find((row) => row.case.variant === variant && row.case.stage === 'total')!.figures.memoryBytes;
    // Four heads of 500 x 500 float32 scores.
    expect(memory('multi-head') - memory('memory-efficient')).toBeGreaterThan(4 * 500 * 500 * 4 * 0.8);
  });

  it('cross-cache: a copy reads and writes the cache once more', async () => {
    const { rows } = await run('cross-cache');
    const bytes = (variant: string) =>
      rows.find((row) => row.case.variant === variant && row.case.stage === 'step' && row.case.batch === 2)!.figures
        .bytes;
    const cache = 3 * 2 * 2 * 500 * 128 * 4; // layers, keys and values, batch, positions, width, float32
    expect(bytes('copied') - bytes('cached')).toBe(2 * cache);
  });

  it('precision: weights are read once for a batch, caches for each sequence', async () => {
    const { rows } = await run('precision');
    const of = (variant: string, batch: number) =>
      rows.find((row) => row.case.variant === variant && row.case.batch === batch)!.figures;
    const [plain, both] = [of('floating', 2), of('int8 weights and cache', 2)];
    expect(of('floating', 1).cacheBytes).toBeCloseTo(plain.cacheBytes / 2, 6);
    expect(of('int8 weights', 2)).toMatchObject({ weightBytes: both.weightBytes, cacheBytes: plain.cacheBytes });
    expect(of('int8 cache', 2)).toMatchObject({ weightBytes: plain.weightBytes, cacheBytes: both.cacheBytes });
    // Heads of 32 elements: 2 bytes each, compared with 1 byte each and a scale of 4 bytes.
    expect(both.cacheBytes / plain.cacheBytes).toBeCloseTo(36 / 64, 6);
    expect(both.predictedRatio).toBeLessThan(0.7);
    const saved = (batch: number) => [
      of('floating', batch).weightBytes - of('int8 weights', batch).weightBytes,
      of('floating', batch).cacheBytes - of('int8 cache', batch).cacheBytes,
    ];
    const [weights, cache] = saved(1);
    expect(plain.crossoverBatch).toBeCloseTo(weights / cache, 1);
  });

  it('io: floors from this device’s ceilings, and the whole step with its parts', async () => {
    const { rows, facts } = await run('io');
    expect(facts.bytesPerSecond).toBeGreaterThan(1e8);
    expect(facts.operationsPerSecond).toBeGreaterThan(1e8);
    const of = (operation: string) =>
      rows.find((row) => row.case.operation === operation && row.case.variant === 'multi-head')!.figures;
    const cross = of('cross-attention');
    expect(cross.bytes).toBe(3 * 2 * 500 * 128 * 4);
    expect(cross.floorMicroseconds).toBeCloseTo((1e6 * cross.bytes) / facts.bytesPerSecond, 6);
    const parts = rows.filter(
      ({ case: { variant, batch, operation } }) =>
        variant === 'multi-head' && batch === 1 && operation !== 'whole step',
    );
    expect(parts.reduce((sum, row) => sum + row.figures.bytes, 0)).toBeCloseTo(of('whole step').bytes, 3);
  });
});

describe('a run', () => {
  it('that was interrupted continues with the next group, and repeats no measurement', async () => {
    const controller = new AbortController();
    let kept: ExperimentResult | undefined;
    const stopped = run('attention-types', {
      signal: controller.signal,
      onResult: (result) => {
        kept = structuredClone(result);
        if (result.groups.length === 2) controller.abort(new Error('enough'));
      },
    });
    await expect(stopped).rejects.toThrow('enough');
    expect(kept).toMatchObject({ complete: false, groups: ['batch 1, length 5', 'batch 1, length 16'] });
    const before = kept!.rows.length;
    const seen: string[] = [];
    const result = await run('attention-types', {
      previous: kept,
      onProgress: ({ group }) => seen.push(group),
    });
    expect([...new Set(seen)]).toEqual(['batch 2, length 5', 'batch 2, length 16']);
    expect(result.complete).toBe(true);
    expect(result.rows.slice(0, before)).toEqual(kept!.rows);
    expect(result.rows.length).toBe(2 * before);
  });

  it('does not continue a result with other settings', async () => {
    const previous = await run('generate');
    await expect(run('generate', { previous, tokens: 5 })).rejects.toThrow('was measured with other settings');
    const elsewhere = { ...previous, machine: { ...previous.machine, cpu: 'another' } };
    await expect(run('generate', { previous: elsewhere })).rejects.toThrow('was measured on another machine');
  });

  it.each([
    [{ tokens: 5 }, "The experiment attention-types has no setting 'tokens'; use batches, lengths, heads, headSize"],
    [{ model: 'models/micro' }, "has no setting 'model'"],
    [{ batches: [0] }, 'Expected batches to be a list of whole numbers of at least 1 but received [0].'],
    [{ lengths: [] }, 'Expected lengths'],
    [{ heads: 1.5 }, 'Expected heads to be a whole number of at least 1 but received 1.5.'],
    [{ dtype: 'int8' }, "Expected dtype to be 'float32', 'float16' or 'bfloat16' but received 'int8'."],
    [{ device: 'tpu' }, "'tpu'"],
    [{ seconds: -1 }, 'Expected seconds to be a number above 0'],
    [{ length: [5] }, "There is no option 'length' of profile; perhaps 'lengths' is meant."],
  ])('refuses %o in one sentence', async (options, message) => {
    await expect(run('attention-types', options as ProfileOptions)).rejects.toThrow(message);
  });

  it('refuses unknown experiments and models', async () => {
    await expect(profile('speed' as 'io')).rejects.toThrow('Expected experiment to be attention-types');
    await expect(run('io', { models: ['enormous'] })).rejects.toThrow(
      "Expected models to be sizes of Whisper (micro, tiny, base, small, medium, large-v3, turbo) but received 'enormous'.",
    );
  });

  it('names the case that the device does not support, and measures the others', async () => {
    // The CPU supports only float32 and bfloat16.
    const half = await run('attention-types', { dtype: 'float16', batches: [1], lengths: [4] });
    expect(half.complete).toBe(true);
    expect(half.rows.map(({ time, note }) => [time, note])).toEqual(
      Array.from({ length: 5 }, () => [
        null,
        expect.stringContaining('the CPU device supports float32 and bfloat16, not float16'),
      ]),
    );
    for (const chart of experiments['attention-types'].charts(half)) expect(await toSvg(chart)).toContain('<svg');
    for (const table of experiments['attention-types'].tables(half)) expect(toText(table)).not.toContain('undefined');
  });

  it('measures a checkpoint with its own weights', async () => {
    const result = await run('whisper-flash', { models: undefined, model: 'models/micro', decoderLayers: [2] });
    expect(cases(result, 'model')).toEqual(['micro']);
    expect(result.settings).toMatchObject({ models: ['micro'], model: 'models/micro' });
  });
});

describe('result files', () => {
  it('are written completely and read again', async () => {
    const file = join(await temporaryFolder(), 'r.json');
    const result = await run('generate');
    await writeResults(file, [result]);
    const [read] = await readResults(file);
    // All digits are kept; otherwise a report from the file could round differently.
    expect(read).toEqual(result);
    expect(await readdir(join(file, '..'))).toEqual(['r.json']);
    const csv = toCsv([result]);
    const [head, first] = csv.split('\r\n');
    expect(head).toBe(
      'experiment,batch,variant,stage,microseconds,low,high,samples,tokensPerSecond,parameters,cacheBytes,note',
    );
    expect(first).toMatch(/^generate,2,multi-head,total,[\d.]+,/);
    expect(csv).toContain('generate,2,"auto, multi-head",total,');
  });

  it.each([
    ['nothing.json', null, 'Cannot read results from'],
    ['text.json', 'hello', 'it is not JSON'],
    ['other.json', '{"a":1}', 'does not contain results'],
    [
      'damaged.json',
      '{"format":"onehead-profile-1","experiments":[{"experiment":"io","rows":[{}]}]}',
      'does not contain',
    ],
  ])('%s is refused in one sentence', async (name, text, message) => {
    const file = join(await temporaryFolder(), name);
    if (text !== null) await writeFile(file, text);
    await expect(readResults(file)).rejects.toThrow(message);
  });

  it('become a report: one page, Markdown and plots', async () => {
    const folder = join(await temporaryFolder(), 'deep', 'report');
    const results = [await run('io', { batches: [1] }), await run('cross-cache', { batches: [1] })];
    const files = await writeReport(folder, results);
    expect((await readdir(folder)).sort()).toEqual([
      'cross-cache.svg',
      'io-roofline.svg',
      'io-steps.svg',
      'report.html',
      'report.md',
    ]);
    expect(files).toContain(join(folder, 'report.html'));
    const html = await readFile(join(folder, 'report.html'), 'utf8');
    // It opens offline: nothing is fetched, and no script runs.
    expect(html).not.toMatch(/<script|<link|<img|@import|src=|href="http/);
    expect(html.match(/<svg /g)).toHaveLength(3);
    const ids = [...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const markdown = await readFile(join(folder, 'report.md'), 'utf8');
    expect(markdown).toContain('![Roofline: every operation of a decode step](io-roofline.svg)');
    expect(markdown).toContain('| model | batch | cached | copied | recomputed |');
  });
});
