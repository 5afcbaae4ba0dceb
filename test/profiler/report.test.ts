/** What a report shows about noise, threads and differences, with an artificial result. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { compare } from '../../lib/profiler/compare.js';
import { experiments } from '../../lib/profiler/experiments/index.js';
import type { ExperimentResult } from '../../lib/profiler/measuring/result.js';
import { describeRun, marked, spread } from '../../lib/profiler/report/figures.js';
import { comparisonWithBase, warningsOf } from '../../lib/profiler/report/findings.js';
import { plotted, plottedRate, plottedRatio } from '../../lib/profiler/report/intervals.js';
import { writeReport } from '../../lib/profiler/write-report.js';

const machine = {
  ...{ cpu: 'a CPU', cores: 2, gpus: [], kernels: 'avx2', onednn: '2.7', node: 'v20.0.0', onehead: '0.1.0' },
  commit: null,
};

const time = (median: number, low = median * 0.98, high = median * 1.02, count = 10) => ({ median, low, high, count });

/** whisper-mqa with four times; one is as noisy as a busy machine once made it. */
function result(load?: number): ExperimentResult {
  const row = (variant: string, batch: number, what: ReturnType<typeof time>) => ({
    case: { model: 'tiny', decoderLayers: 4, batch, variant, stage: 'decode' },
    time: what,
    figures: { tokensPerSecond: 1 },
  });
  return {
    experiment: 'whisper-mqa',
    date: '2026-01-01T00:00:00.000Z',
    machine: { ...machine, load },
    settings: { device: 'cpu', dtype: 'float32', threads: 2, tokens: 25 },
    facts: {},
    groups: [],
    complete: true,
    rows: [
      row('multi-head', 1, time(100_000)),
      row('multi-query everywhere', 1, time(50_000, 49_000, 1_940_500)),
      row('multi-head', 4, time(400_000)),
      row('multi-query everywhere', 4, time(200_000)),
    ],
  };
}

describe('noise', () => {
  it('of more than half of a figure is shown as an interval with a mark, without a percentage', () => {
    expect(spread(time(100_000))).toBe('100 ms ±2%');
    expect(spread(time(50_000, 49_000, 1_940_500))).toBe('~50.0 ms (49.0 ms to 1.94 s)');
    expect(marked(time(10, 1, 11), '5')).toBe('~5');
    expect(marked(time(10), '5')).toBe('5');
  });

  it('is reported in a warning, with the largest and what to do', () => {
    expect(warningsOf(result(0.1))).toEqual([
      '1 of 4 times are marked ~: the 95% interval of the median reaches more than 50% away from it, so they cannot be compared. ' +
        'The widest interval is that of tiny, decoder layers 4, batch 1, multi-query everywhere, decode: 49.0 ms to 1.94 s. ' +
        'Measure again on an idle machine, or with more --repeats and --seconds.',
    ]);
    expect(warningsOf(result(1.9))[0]).toMatch(
      /^The machine was busy before the run began \(load average 1\.90 on 2 cores\)/,
    );
    const few = result();
    few.rows = [{ ...few.rows[0], time: time(1, 1, 1, 2) }];
    expect(warningsOf(few)).toEqual(['1 of 1 times have fewer than three samples, so their spread is unknown.']);
  });

  it('does not flatten a plot', () => {
    expect(plotted(time(50_000, 49_000, 1_940_500))).toEqual({ value: 50, low: 49, high: 150, noisy: true });
    expect(plottedRate(1000, time(10, 8, 12))).toEqual({ value: 100, low: 1000 / 12, high: 125, noisy: false });
    expect(plottedRatio(time(10, 9, 11), time(5, 4, 6))).toEqual({ value: 2, low: 1.5, high: 2.75, noisy: false });
  });
});

it('a difference is reported only if the intervals do not overlap', () => {
  const table = comparisonWithBase(result().rows, experiments['whisper-mqa'].compared)!;
  expect(table.rows).toEqual([['decode', 'multi-query everywhere', '1', '0', '1', '2.00']]);
  expect(comparisonWithBase([], experiments['whisper-mqa'].compared)).toBeNull();
  // Two samples have no interval: this run says nothing.
  const few = result().rows.map((row) => ({ ...row, time: { ...row.time!, count: 2 } }));
  expect(comparisonWithBase(few, experiments['whisper-mqa'].compared)!.rows).toEqual([
    ['decode', 'multi-query everywhere', '0', '0', '2', '2.00'],
  ]);
  const [before, after] = [result(), result()];
  before.rows[0].time = time(100, 99, 101, 3);
  after.rows[0].time = time(50, 49, 51, 3);
  expect(compare([before], [after]).rows[0].change).toBe('faster');
  after.rows[0].time = time(50, 50, 50, 1);
  expect(compare([before], [after]).rows[0].change).toBe('none');
});

it('a run shows its threads, and an older result that they are unknown', () => {
  expect(describeRun(result())).toBe('a CPU: cpu, float32, 2 threads, onehead 0.1.0, 2026-01-01');
  const older = { ...result(), settings: { device: 'cpu', dtype: 'float32' } };
  expect(describeRun(older)).toContain('threads not recorded');
});

it('the page has warnings, intervals and the meaning of names', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-report-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeReport(folder, [result(1.9)]);
  const html = await readFile(join(folder, 'report.html'), 'utf8');
  expect(html.match(/<p class="warning">/g)).toHaveLength(2);
  expect(html).not.toMatch(/±\d{3}/);
  expect(html).toContain('<td>multi-query everywhere</td><td>one key/value head in all three</td>');
  expect(html).toContain('stroke-dasharray');
  const markdown = await readFile(join(folder, 'report.md'), 'utf8');
  expect(markdown).toContain('> **Warning:** The machine was busy');
  expect(markdown).toContain('## Names');
});
