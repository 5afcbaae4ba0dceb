/**
 * `npm run bench -- timeline TRACE.json OUTPUT.svg`: draws a trace as a timeline, with a row for each track and a box
 * for each operation, all on one scale. Traces have the Trace Event Format, and are written by `onehead profile
 * --trace` and `npm run bench -- cuda --trace`.
 *
 *   --track TEXT     only tracks with this text in their names
 *   --title TEXT     the title of the picture
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { TraceEvent } from '../lib/profiler/measuring/trace.js';

export interface Span {
  name: string;
  begin: number;
  microseconds: number;
}
export interface Row {
  name: string;
  spans: Span[];
}

/** The rows of a trace: its threads, with their operations in order. */
export function rowsOf(events: readonly TraceEvent[]): Row[] {
  const rows = new Map<number, Row>();
  for (const { name, ph, tid, args, cat, ts = 0, dur = 0 } of events) {
    if (ph === 'M' && name === 'thread_name') rows.set(tid, { name: String(args?.name), spans: [] });
    // Stages are parts of operations.
    if (ph !== 'X' || cat === 'stage') continue;
    const label = String(args?.label ?? '');
    rows.get(tid)?.spans.push({ name: label ? `${name} ${label}` : name, begin: ts, microseconds: dur });
  }
  return [...rows.values()];
}

const palette = [
  '#4e79a7',
  '#f28e2b',
  '#59a14f',
  '#e15759',
  '#76b7b2',
  '#edc948',
  '#b07aa1',
  '#9c755f',
  '#bab0ac',
  '#ff9da7',
];
const escaped = (text: string) =>
  text.replace(/[&<>"]/g, (character) => `&#${character.codePointAt(0)};`).replace(/\s+/g, ' ');

/** Draws rows on one scale as SVG. The names of operations are in the boxes, if they fit, and in tooltips. */
function timelineSvg(rows: readonly Row[], title: string): string {
  const [left, top, width, height, gap] = [16, 44, 1120, 34, 30];
  const end = Math.max(1, ...rows.flatMap(({ spans }) => spans.map((span) => span.begin + span.microseconds)));
  const scale = width / end;
  const colors = new Map<string, string>();
  const colorOf = (name: string) => {
    // The same operation has the same color in all layers.
    const kind = name.replace(/\d+/g, '');
    if (!colors.has(kind)) colors.set(kind, palette[colors.size % palette.length]);
    return colors.get(kind);
  };
  const parts = [`<text x="${left}" y="22" font-size="15" font-weight="600">${escaped(title)}</text>`];
  rows.forEach(({ name, spans }, index) => {
    const y = top + index * (height + gap) + 16;
    const total = spans.reduce((sum, { microseconds }) => sum + microseconds, 0);
    parts.push(`<text x="${left}" y="${y - 5}">${escaped(name)}: ${total.toFixed(1)} µs</text>`);
    for (const span of spans) {
      const [x, boxWidth] = [left + span.begin * scale, Math.max(span.microseconds * scale - 1, 0.5)];
      const text = `${span.name}: ${span.microseconds.toFixed(1)} µs`;
      parts.push(
        `<g><title>${escaped(text)}</title><rect x="${x.toFixed(1)}" y="${y}" width="${boxWidth.toFixed(1)}" height="${height}" fill="${colorOf(span.name)}"/>`,
      );
      const maxCharacters = Math.floor((boxWidth - 6) / 6);
      if (maxCharacters >= 3)
        parts.push(
          `<text x="${(x + 3).toFixed(1)}" y="${y + 21}" font-size="11" fill="#fff">${escaped(span.name.slice(0, maxCharacters))}</text>`,
        );
      parts.push('</g>');
    }
  });
  const bottom = top + rows.length * (height + gap);
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((interval) => end / interval <= 12) ?? end;
  for (let time = 0; time <= end; time += step)
    parts.push(
      `<text x="${(left + time * scale).toFixed(1)}" y="${bottom + 14}" font-size="11" fill="#555">${time} µs</text>`,
    );
  const size = `width="${width + 2 * left}" height="${bottom + 24}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="13">\n<title>${escaped(title)}</title>\n<rect width="100%" height="100%" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`;
}

if (process.argv[2] === 'timeline') {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(3),
    allowPositionals: true,
    options: { track: { type: 'string', default: '' }, title: { type: 'string', default: 'Timeline' } },
  });
  const [input, output] = positionals;
  if (!input || !output) {
    console.error('Name a trace and an output file: npm run bench -- timeline TRACE.json OUTPUT.svg');
    process.exit(2);
  }
  const { traceEvents } = JSON.parse(readFileSync(input, 'utf8'));
  const rows = rowsOf(traceEvents).filter(({ name }) => name.includes(values.track));
  writeFileSync(output, timelineSvg(rows, values.title));
  console.log(`drew ${rows.length} tracks in ${output}`);
}
