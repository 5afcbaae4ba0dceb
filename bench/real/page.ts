/** The page of `npm run bench -- real`: a description of the measurement, tables and plots. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { type Chart, toMarkdown } from '../../lib/profiler/report/figures.js';
import { toSvg } from '../../lib/profiler/report/render.js';
import { columns, type Row } from './rows.js';

export interface RealResult {
  date: string;
  commit: string;
  machine: { cpu: string; cores: number; kernels: string; onednn: string };
  settings: { threads: number; repeats: number; giveLanguage: boolean };
  set: { name: string; language: string | null; kind: string; seconds: number; words: number; timedWords: number }[];
  rows: Row[];
}

type Measured = Extract<Row, { figures: unknown }>;

/** A chart with a group of bars for each system. */
function bars(
  name: string,
  title: string,
  caption: string,
  unit: string,
  values: { system: string; series: string; value: number }[],
): Chart {
  const systems = [...new Set(values.map(({ system }) => system))];
  const series = [...new Set(values.map((value) => value.series))];
  const position = {
    y: { field: 'system', type: 'nominal', sort: systems, title: null },
    yOffset: { field: 'series', sort: series },
    x: { field: 'value', type: 'quantitative', title: unit },
  };
  const color = { field: 'series', type: 'nominal', sort: series, title: null };
  const layer = [
    { mark: 'bar', encoding: { ...position, color } },
    {
      mark: { type: 'text', align: 'left', dx: 3, fontSize: 10 },
      encoding: { ...position, text: { field: 'value', type: 'quantitative', format: '.3~r' } },
    },
  ];
  return { name, title, caption, spec: { width: 460, height: { step: 13 }, data: { values }, layer } };
}

function charts(measured: readonly Measured[]): Chart[] {
  const each = (pick: (row: Measured) => [string, number | null | undefined][]) =>
    measured.flatMap((row) =>
      pick(row).flatMap(([series, value]) =>
        typeof value === 'number' && Number.isFinite(value) ? [{ system: row.name, series, value }] : [],
      ),
    );
  return [
    bars(
      'errors',
      'Word error rate',
      'Lower is better. Characters count as words in Chinese and Japanese.',
      '%',
      each(({ figures: { languages } }) => [
        ['English', 100 * languages.en?.wordErrorRate],
        ['other languages', 100 * languages.others.wordErrorRate],
      ]),
    ),
    bars(
      'speed',
      'Speed',
      'Higher is better: seconds of audio transcribed in a second.',
      'seconds of audio per second',
      each(({ figures: { speed } }) => [
        ['clips under 20 s', speed.under20s],
        ['recordings over 45 s', speed.over45s],
      ]),
    ),
    bars(
      'computing',
      'Computing time',
      'Higher is better: seconds of audio transcribed in a second of one core. Other programs on the machine affect this little.',
      'seconds of audio per CPU second',
      each(({ figures: { cpuSpeed } }) => [
        ['clips under 20 s', cpuSpeed.under20s],
        ['recordings over 45 s', cpuSpeed.over45s],
      ]),
    ),
    bars(
      'words',
      'Word times',
      'Lower is better: mean difference from forced alignments.',
      'ms',
      each(({ figures: { wordTimes } }) => [
        ['starts', wordTimes && 1000 * wordTimes.starts.mean],
        ['ends', wordTimes && 1000 * wordTimes.ends.mean],
      ]),
    ),
    bars(
      'memory',
      'Memory',
      'Peak memory of the process.',
      'MiB',
      each(({ figures: { memory } }) => [['peak', memory / 2 ** 20]]),
    ),
  ];
}

function byLanguage(measured: readonly Measured[], set: RealResult['set']) {
  const languages = Object.keys(measured[0].figures.languages).filter((name) => name !== 'others' && name !== 'all');
  return {
    title: 'Errors by language',
    columns: ['language', 'recordings', 'words', ...measured.map(({ name }) => name)],
    rows: languages.map((language) => [
      language,
      String(set.filter((recording) => recording.language === language && recording.words > 0).length),
      String(set.filter((recording) => recording.language === language).reduce((sum, { words }) => sum + words, 0)),
      ...measured.map(({ figures }) => `${(100 * figures.languages[language].wordErrorRate).toFixed(1)}`),
    ]),
    note: 'Word error rates in percent; character error rates in Chinese and Japanese.',
  };
}

function textWithoutSpeech(measured: readonly Measured[], set: RealResult['set']) {
  const silent = set.filter(({ words }) => words === 0);
  return {
    title: 'Text without speech',
    columns: ['recording', ...measured.map(({ name }) => name)],
    rows: silent.map(({ name, seconds }) => [
      name.startsWith('made') ? name : `${name}, ${seconds.toFixed(0)} s`,
      ...measured.map(({ figures }) => {
        const text = figures.noSpeech.texts.find((entry) => entry.name === name)?.text ?? '';
        const short = text.length > 40 ? `${text.slice(0, 40)}…` : text;
        return short.replaceAll('\n', ' ');
      }),
    ]),
  };
}

function about({ date, commit, machine, settings, set, rows }: RealResult): string {
  const spoken = set.filter(({ words }) => words > 0);
  const minutes = spoken.reduce((sum, { seconds }) => sum + seconds, 0) / 60;
  const languages = new Set(spoken.map(({ language }) => language));
  const timed = set.reduce((sum, { timedWords }) => sum + timedWords, 0);
  const made = set.filter(({ kind }) => kind === 'made').length;
  const loadOf = (row: (typeof rows)[number]) => ('load' in row ? (row.load ?? 0) : 0);
  const loaded = rows.filter((row) => loadOf(row) > 1.5 * machine.cores);
  const names = loaded.map((row) => `${row.name} (a load of ${loadOf(row).toFixed(1)} on ${machine.cores} cores)`);
  const busy = `Other programs took much of the cores beside ${names.join(', ')}: computing times are more reliable than wall times there.`;
  return `${spoken.length} recordings of people speaking (${minutes.toFixed(1)} minutes, ${languages.size} languages), ${set.length - spoken.length} without speech (${made} of them generated by code), and ${timed} words with times from forced alignments. Measured on ${date.slice(0, 10)} at ${commit.slice(0, 10)} on ${machine.cpu} (kernels: ${machine.kernels}; oneDNN ${machine.onednn}), ${settings.threads} pinned cores, ${settings.threads} threads, one system after another${settings.repeats > 1 ? `, in ${settings.repeats} interleaved rounds, of which the shortest time of each recording counts` : ''}. All systems get the same 16 kHz WAV files and ${settings.giveLanguage ? "the recording's language" : 'detect the language themselves'}.${loaded.length > 0 ? ` ${busy}` : ''}`;
}

const method = `All systems use greedy search at temperature 0 with their own fallback. Text is not carried over between windows, since that spreads errors.

- onehead runs with its defaults, which use this search.
- openai/whisper and whisper.cpp transcribe each window whole.
- faster-whisper's batched mode removes silence before decoding, and by default decodes without timestamps.
- whisper.cpp loads its model for each recording; this time is not counted.
- transformers uses fallback only in recordings of over 30 s.
- Errors are counted after openai/whisper's normalizers.
- Word times come from a second pass over the recordings that have an alignment. openai/whisper uses all heads in the upper half of the decoder for them, as it does if a checkpoint names none.
- "Decoded again" is the share of windows whose text came from a temperature above 0. A CPU second is a second of one core.`;

/** Wraps lines at 120 columns, and indents the continuation lines of list items. */
function wrap(text: string): string {
  const wrapLine = (line: string): string => {
    const indent = line.startsWith('- ') ? '  ' : '';
    const lines = [''];
    for (const word of line.split(' ')) {
      const last = lines[lines.length - 1];
      if (last.trim() !== '' && last.length + 1 + word.length > 120) lines.push(indent + word);
      else lines[lines.length - 1] = lines.length === 1 && last === '' ? word : `${last} ${word}`;
    }
    return lines.join('\n');
  };
  return text.split('\n').map(wrapLine).join('\n');
}

const begin = '<!-- written by npm run bench -- real -->';
const end = '<!-- end of what the benchmark wrote -->';

/** The parts of an existing page before and after the generated part, which are kept. */
function surroundings(page: string): [string, string] {
  const text = existsSync(page) ? readFileSync(page, 'utf8') : '';
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from >= 0 && to > from) return [text.slice(0, from), text.slice(to + end.length)];
  return ['# Real speech\n\n', '\n'];
}

/** Writes the generated part of the page, and the plots to a folder with the page's name. */
export async function writePage(page: string, result: RealResult): Promise<void> {
  const measured = result.rows.filter((row): row is Measured => 'figures' in row);
  const missing = result.rows.flatMap((row) => ('missing' in row ? [`- ${row.name} was not run: ${row.missing}`] : []));
  const folder = basename(page, extname(page));
  mkdirSync(join(dirname(page), folder), { recursive: true });
  const figures: string[] = [];
  for (const chart of charts(measured)) {
    writeFileSync(join(dirname(page), folder, `${chart.name}.svg`), await toSvg(chart));
    figures.push(`![${chart.title}](${folder}/${chart.name}.svg)\n\n${wrap(chart.caption)}`);
  }
  const table = {
    title: 'All figures',
    columns: ['', ...measured.map(({ name }) => name)],
    rows: columns.map(([heading, cell]) => [heading, ...measured.map(({ figures }) => cell(figures))]),
  };
  const parts = [
    wrap(about(result)),
    wrap(method),
    toMarkdown(table),
    ...(missing.length > 0 ? [missing.join('\n')] : []),
    ...figures,
    toMarkdown(byLanguage(measured, result.set)),
    toMarkdown(textWithoutSpeech(measured, result.set)),
  ];
  const [before, after] = surroundings(page);
  writeFileSync(page, `${before}${begin}\n\n${parts.map((part) => part.trim()).join('\n\n')}\n\n${end}${after}`);
  console.log(`wrote ${page}`);
}
