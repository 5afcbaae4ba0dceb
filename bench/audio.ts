/**
 * `npm run bench -- audio`: measures the decoding of recordings to mono samples at 16,000 Hz, in each format, of a clip
 * of three seconds and of ten minutes. ffmpeg makes the files. Prints milliseconds of CPU time for each recording, the
 * least of the repeats, of `openAudio` (threads included) and of one ffmpeg process for each recording.
 *
 *   --audio FILE  --repeats N  --only NAME,NAME  --output FILE
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openAudio } from '../lib/audio/index.js';
import { commit, describeCpu } from './machine.js';
import { ResultFile, type StoredResult } from './result-file.js';

interface Row {
  format: string;
  seconds: number;
  bytes: number;
  /** Milliseconds of CPU time for a recording. */
  onehead: number;
  ffmpeg: number;
}

interface Result extends StoredResult {
  commit: string;
  machine: ReturnType<typeof describeCpu>;
  node: string;
  ffmpeg: string;
  rows: Row[];
}

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    audio: { type: 'string', default: 'test/fixtures/heldout/12_long_seen.flac' },
    repeats: { type: 'string', default: '5' },
    only: { type: 'string' },
    output: { type: 'string', default: 'bench/results/audio.json' },
  },
});
const repeats = Number(values.repeats);
const sampleRate = 16_000;

/** The options of ffmpeg for each format: the rates that microphones, telephones and files usually have. */
const formats: Record<string, { end: string; options: string }> = {
  'WAV, 16 kHz': { end: 'wav', options: '-ar 16000 -ac 1' },
  'WAV, 44.1 kHz, stereo': { end: 'wav', options: '-ar 44100 -ac 2' },
  'WAV, 8 kHz': { end: 'wav', options: '-ar 8000 -ac 1' },
  'FLAC, 16 kHz': { end: 'flac', options: '-ar 16000 -ac 1' },
  'MP3, 44.1 kHz, stereo': { end: 'mp3', options: '-ar 44100 -ac 2 -b:a 128k' },
  'M4A (AAC), 44.1 kHz, stereo': { end: 'm4a', options: '-ar 44100 -ac 2 -b:a 128k' },
  'Ogg Vorbis, 44.1 kHz': { end: 'ogg', options: '-ar 44100 -ac 1 -c:a libvorbis' },
  'Ogg Opus, 48 kHz': { end: 'opus', options: '-ar 48000 -ac 1 -c:a libopus -b:a 32k' },
  'WebM Opus, 48 kHz': { end: 'webm', options: '-ar 48000 -ac 1 -c:a libopus -b:a 32k' },
};

/** Recordings of a case: many short ones, so that their time can be measured. */
const cases = [
  { seconds: 3, count: 200 },
  { seconds: 600, count: 1 },
];

/** Milliseconds of CPU time of this process, its threads included. */
async function cpuTime(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** Milliseconds of CPU time of one ffmpeg that decodes a file. */
function ffmpegTime(file: string): number {
  const options = ['-v', 'error', '-benchmark', '-loglevel', 'info', '-nostdin', '-i', file];
  const output = ['-ac', '1', '-ar', String(sampleRate), '-f', 'f32le', '-y', '/dev/null'];
  const { stderr } = spawnSync('ffmpeg', [...options, ...output], { encoding: 'utf8' });
  const found = /bench: utime=([\d.]+)s stime=([\d.]+)s/.exec(stderr);
  if (!found) throw new Error(`ffmpeg printed no times: ${stderr.slice(-200)}`);
  return 1000 * (Number(found[1]) + Number(found[2]));
}

async function measure(format: string, seconds: number, count: number, folder: string): Promise<Row> {
  const { end, options } = formats[format];
  const file = join(folder, `recording.${end}`);
  const input = ['-v', 'error', '-y', '-stream_loop', '-1', '-i', values.audio, '-t', String(seconds)];
  execFileSync('ffmpeg', [...input, ...options.split(' '), file]);
  const bytes = await readFile(file);
  const decode = async () => {
    const source = await openAudio(bytes, { sampleRate });
    let samples = 0;
    for await (const chunk of source.chunks()) samples += chunk.length;
    await source.close();
    if (Math.abs(samples / sampleRate - seconds) > 0.1) throw new Error(`decoded ${samples / sampleRate} s`);
  };
  // The first recordings load and compile the decoder.
  for (let i = 0; i < Math.min(count, 20); ++i) await decode();
  const row = { format, seconds, bytes: bytes.length, onehead: Number.POSITIVE_INFINITY, ffmpeg: 0 };
  row.ffmpeg = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < repeats; ++repeat) {
    const total = await cpuTime(async () => {
      for (let i = 0; i < count; ++i) await decode();
    });
    row.onehead = Math.min(row.onehead, total / count);
    row.ffmpeg = Math.min(row.ffmpeg, ffmpegTime(file));
  }
  console.log(`| ${format} | ${seconds} | ${row.onehead.toFixed(2)} | ${row.ffmpeg.toFixed(0)} |`);
  return row;
}

const file = new ResultFile<Result>(values.output, {
  date: new Date().toISOString(),
  complete: false,
  failures: [],
  commit: commit(),
  machine: describeCpu(),
  node: process.version,
  ffmpeg: execFileSync('ffmpeg', ['-version'], { encoding: 'utf8' }).split('\n')[0],
  rows: [],
});
const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
const wanted = values.only?.split(',');
try {
  console.log('| format | seconds | onehead, ms | ffmpeg, ms |\n|---|---|---|---|');
  for (const { seconds, count } of cases) {
    for (const format of Object.keys(formats)) {
      if (wanted && !wanted.some((name) => format.startsWith(name))) continue;
      await file.attempt(
        `${format}, ${seconds} s`,
        () => measure(format, seconds, count, folder),
        (row) => file.result.rows.push(row),
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
file.finish();
