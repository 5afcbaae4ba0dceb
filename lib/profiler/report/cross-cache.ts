/** Tables and plots of the experiment on the cross-attention cache. */
import type { ExperimentResult } from '../measuring/result.js';
import { type Chart, digits, marked, mebibytes, panels, pivot, spread, type Table } from './figures.js';
import { intervalLayers, intervalNote, plottedRate } from './intervals.js';

export function crossCacheTables({ rows, settings }: ExperimentResult): Table[] {
  const of = (stage: string) => rows.filter((row) => row.case.stage === stage);
  const down = ['model', 'batch'];
  return [
    pivot('Tokens a second, step after step', of('step'), down, 'variant', ({ time, figures }) =>
      marked(time!, digits(figures.tokensPerSecond)),
    ),
    pivot('Time of a step', of('step'), down, 'variant', ({ time }) => spread(time!)),
    pivot(
      `A window of ${settings.tokens} tokens, projection and prompt included`,
      of('window'),
      down,
      'variant',
      ({ time }) => spread(time!),
    ),
    pivot('What a step moves, MiB, by the I/O model', of('step'), down, 'variant', ({ figures }) =>
      mebibytes(figures.bytes),
    ),
    pivot('What a step computes, gigaoperations, by the I/O model', of('step'), down, 'variant', ({ figures }) =>
      digits(figures.operations / 1e9),
    ),
  ];
}

export function crossCacheCharts({ rows }: ExperimentResult): Chart[] {
  const steps = rows.filter((row) => row.time && row.case.stage === 'step');
  const variant = { field: 'variant', type: 'nominal', sort: null };
  return [
    {
      name: 'cross-cache',
      title: 'Tokens a second by where the audio’s keys and values come from',
      caption:
        'Logarithmic. Cached: read where they lie. Copied: cloned first in each step. Recomputed: projected anew in each step. ' +
        intervalNote,
      spec: panels(
        steps.map(({ case: { model, batch, variant }, time, figures: { tokensPerSecond } }) => ({
          panel: `${model}, batch ${batch}`,
          variant,
          ...plottedRate(tokensPerSecond * time!.median, time!),
          label: marked(time!, digits(tokensPerSecond)),
        })),
        {
          width: 260,
          height: 240,
          encoding: { x: { ...variant, title: null, axis: { labelAngle: 0 } } },
          layer: [
            ...intervalLayers(
              'y',
              { type: 'quantitative', title: 'tokens a second', scale: { type: 'log', domainMin: 1 } },
              { type: 'bar' },
              { y2: { datum: 1 }, color: { ...variant, legend: null } },
            ),
            {
              mark: { type: 'text', dy: -8 },
              encoding: { y: { field: 'high', type: 'quantitative' }, text: { field: 'label' } },
            },
          ],
        },
      ),
    },
  ];
}
