/** Tables and plots of the experiment on short audio contexts. */
import type { ExperimentResult } from '../measuring/result.js';
import { type Chart, digits, marked, panels, spread, type Table } from './figures.js';
import { intervalLayers, intervalNote, plottedRate } from './intervals.js';

const percent = (share: number) => `${(100 * share).toFixed(2)} %`;

export function audioContextTables({ rows }: ExperimentResult): Table[] {
  const full = rows.find((row) => row.case.variant === 'full');
  return [
    {
      title: 'Transcription of the clips in sequence, by margin of silence',
      columns: [
        'model',
        'margin',
        'word errors',
        'clips per second',
        'relative to full',
        'all clips',
        'positions per clip',
        'encoded again',
      ],
      rows: rows.map(({ case: { model, variant }, time, figures }) => [
        String(model),
        String(variant),
        percent(figures.wordErrorRate),
        marked(time!, digits(figures.clipsPerSecond)),
        full ? marked(time!, `${digits(figures.clipsPerSecond / full.figures.clipsPerSecond)}x`) : '',
        spread(time!),
        figures.positions.toFixed(0),
        percent(figures.encodedAgain),
      ]),
      note: 'Positions include second encodings. A whole window of OpenAI’s models has 1,500 positions.',
    },
  ];
}

export function audioContextCharts({ rows }: ExperimentResult): Chart[] {
  const shown = [
    ['word errors, %', (figures: Record<string, number>) => 100 * figures.wordErrorRate],
    ['clips per second', (figures: Record<string, number>) => figures.clipsPerSecond],
    ['audio positions per clip', (figures: Record<string, number>) => figures.positions],
    ['encoded again, %', (figures: Record<string, number>) => 100 * figures.encodedAgain],
  ] as const;
  const margin = { field: 'margin', type: 'nominal', sort: null };
  const values = shown.flatMap(([panel, of]) =>
    rows.map(({ case: { variant }, time, figures }) => {
      const value = of(figures);
      const timed = panel === 'clips per second';
      const single = { value, low: value, high: value, noisy: false };
      return {
        ...{ panel, margin: variant },
        ...(timed ? plottedRate(value * time!.median, time!) : single),
        label: timed ? marked(time!, digits(value)) : digits(value),
      };
    }),
  );
  return [
    {
      name: 'audio-context',
      title: 'Errors and cost by margin of silence after a clip',
      caption: `Full: whole windows. Errors, positions and second encodings are counted, not timed. ${intervalNote}`,
      spec: panels(
        values,
        {
          width: 260,
          height: 180,
          encoding: { x: { ...margin, title: null, axis: { labelAngle: 0 } } },
          layer: [
            ...intervalLayers(
              'y',
              { type: 'quantitative', title: null, scale: { domainMin: 0 } },
              { type: 'bar' },
              { y2: { datum: 0 }, color: { ...margin, legend: null } },
            ),
            {
              mark: { type: 'text', dy: -8 },
              encoding: { y: { field: 'high', type: 'quantitative' }, text: { field: 'label' } },
            },
          ],
        },
        { independent: ['y'] },
      ),
    },
  ];
}
