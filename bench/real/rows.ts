/** The results of `npm run bench -- real` by system, and their table. */
import type { Errors, Figures, RecordingScore } from './score.js';

export type Row =
  | {
      name: string;
      commit?: string;
      /** The machine's load average of one minute before the measurement. */
      load?: number;
      figures: Figures;
      recordings: RecordingScore[];
    }
  /** The reason why the system could not run. */
  | { name: string; missing: string };

const percent = (rate: number | undefined): string => (Number.isFinite(rate) ? (100 * rate!).toFixed(1) : '-');
const errors = (group: Errors | undefined): string => (group?.recordings ? percent(group.wordErrorRate) : '-');
const number = (value: number | null | undefined, digits = 1): string =>
  Number.isFinite(value) ? value!.toFixed(digits) : '-';
const milliseconds = (seconds: number): string => (1000 * seconds).toFixed(0);

/** True for a text such as [MUSIC] or (silence), which describes a sound and does not count as invented speech. */
const isMarker = (text: string): boolean => /^(?:\s*(?:\[[^\]]*\]|\([^)]*\)))+\s*$/.test(text);

/** The heading and the cell of each figure. */
export const columns: [string, (figures: Figures) => string][] = [
  ['WER English, %', ({ languages }) => errors(languages.en)],
  ['others, %', ({ languages }) => errors(languages.others)],
  ['CER English, %', ({ languages }) => percent(languages.en?.characterErrorRate)],
  ['language detected', ({ languageFound: { right, of } }) => `${right}/${of}`],
  ['no text for speech', ({ lost }) => String(lost.length)],
  [
    'text without speech',
    ({ noSpeech: { texts, recordings } }) => `${texts.filter(({ text }) => !isMarker(text)).length}/${recordings}`,
  ],
  [
    'only a marker such as [MUSIC]',
    ({ noSpeech }) => String(noSpeech.texts.filter(({ text }) => isMarker(text)).length),
  ],
  ['audio s per s, under 20 s', ({ speed }) => number(speed.under20s)],
  ['over 45 s', ({ speed }) => number(speed.over45s)],
  ['audio s per CPU s, under 20 s', ({ cpuSpeed }) => number(cpuSpeed.under20s)],
  ['over 45 s', ({ cpuSpeed }) => number(cpuSpeed.over45s)],
  ['no speech: real-time factor', ({ noSpeech }) => number(noSpeech.realTimeFactor, 3)],
  ['a minute of faint noise, s', ({ faintMinute }) => number(faintMinute)],
  ['decoded again, %', ({ fallback }) => percent(fallback?.share)],
  ['words: starts, ms', ({ wordTimes }) => (wordTimes ? milliseconds(wordTimes.starts.mean) : '-')],
  ['bias', ({ wordTimes }) => (wordTimes ? milliseconds(wordTimes.starts.bias) : '-')],
  ['within 100 ms, %', ({ wordTimes }) => percent(wordTimes?.starts.within)],
  ['ends, ms', ({ wordTimes }) => (wordTimes ? milliseconds(wordTimes.ends.mean) : '-')],
  ['bias', ({ wordTimes }) => (wordTimes ? milliseconds(wordTimes.ends.bias) : '-')],
  ['within 100 ms, %', ({ wordTimes }) => percent(wordTimes?.ends.within)],
  ['memory, MiB', ({ memory }) => number(memory / 2 ** 20, 0)],
];

/** Formats a table for a terminal, with a column for each system. */
export function tableOf(rows: readonly Row[]): string {
  const measured = rows.filter((row) => 'figures' in row);
  const lines = [
    ['', ...measured.map(({ name }) => name)],
    ...columns.map(([heading, cell]) => [heading, ...measured.map(({ figures }) => cell(figures))]),
  ];
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  const text = lines.map((line) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))),
  );
  const invented = measured.flatMap(({ name, figures }) =>
    figures.noSpeech.texts.map((entry) => `  ${name}: ${entry.name}: ${entry.text.slice(0, 100)}`),
  );
  const lost = measured.flatMap(({ name, figures }) => figures.lost.map((recording) => `  ${name}: ${recording}`));
  return [
    ...(measured.length > 0 ? text.map((line) => line.join('  ')) : []),
    ...rows.flatMap((row) => ('missing' in row ? [`${row.name}: not run: ${row.missing}`] : [])),
    ...(invented.length > 0 ? ['text without speech:', ...invented] : []),
    ...(lost.length > 0 ? ['no text for speech:', ...lost] : []),
  ].join('\n');
}
