/** Measures the time that short audio contexts save and the errors that they cost, by margin of silence. */
import { join } from 'node:path';
import { readSamples } from '../../audio/join.js';
import { addCounts, errorRate, noCounts, textErrors } from '../../evaluate/errors.js';
import { findRecordings } from '../../evaluate/evaluate.js';
import { normalizeEnglish } from '../../evaluate/normalize.js';
import { bundledModel } from '../../whisper/checkpoint/hub.js';
import { Whisper } from '../../whisper/whisper.js';
import type { ProfileRow } from '../measuring/result.js';
import { audioContextCharts, audioContextTables } from '../report/audio-context.js';
import { type Context, defineExperiment, stageRows } from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';
import { callMicroseconds } from './whisper.js';

type Own = Pick<OwnSettings, 'models' | 'margins' | 'audio'>;

/** A recording with its text. */
interface Clip {
  samples: Float32Array;
  text: string;
}

/** The sentences of the bundled recording: [start, end, text], in seconds. */
const sentences: [number, number, string][] = [
  [0, 2, 'We will return on Thursday.'],
  [2, 4.9, 'Add honey and chicken to the shopping list.'],
  [4.9, 8, 'Move left forty five meters.'],
];

async function clipsOf(audio: string, sampleRate: number): Promise<Clip[]> {
  if (audio === '') {
    const all = await readSamples(join(bundledModel(), 'sample.flac'), { sampleRate });
    return sentences.map(([from, to, text]) => ({ samples: all.slice(from * sampleRate, to * sampleRate), text }));
  }
  const recordings = await findRecordings(audio);
  return Promise.all(
    recordings.map(async ({ file, reference }) => ({
      samples: await readSamples(file, { sampleRate }),
      text: reference,
    })),
  );
}

async function measure(context: Context<CommonSettings & Own>): Promise<ProfileRow[]> {
  const { device, dtype, threads, margins, audio, models } = context.settings;
  using whisper = await Whisper.load(context.model, { device, dtype, threads });
  const { sampleRate } = whisper.model.checkpoint.preprocessor;
  const clips = await clipsOf(audio, sampleRate);
  const seconds = clips.reduce((sum, { samples }) => sum + samples.length / sampleRate, 0);
  const counted = new Map<string, Record<string, number>>();
  const variants = [null, ...margins].map((margin) => {
    const name = margin === null ? 'full' : `${margin} s`;
    const options =
      margin === null
        ? ({ audioContext: 'full' } as const)
        : ({ audioContext: 'fit', audioContextMargin: margin } as const);
    return {
      name,
      sample: async () => {
        const before = whisper.figures();
        const texts: string[] = [];
        const total = await callMicroseconds(async () => {
          for (const { samples } of clips) {
            texts.push(
              (await whisper.transcribe({ samples, sampleRate }, { ...options, signal: context.signal })).text,
            );
          }
        });
        const after = whisper.figures();
        const errors = clips.map(({ text }, i) => textErrors(normalizeEnglish(text), normalizeEnglish(texts[i])));
        counted.set(name, {
          wordErrorRate: errorRate(errors.reduce((sum, { words }) => addCounts(sum, words), noCounts)),
          positions: (after.audioPositions - before.audioPositions) / clips.length,
          encodedAgain: (after.encodedAgain - before.encodedAgain) / clips.length,
        });
        return { total };
      },
    };
  });
  const measured = await context.measure(variants);
  return stageRows({ model: models[0] }, measured, (name, _, time) => ({
    ...counted.get(name)!,
    clipsPerSecond: (1e6 * clips.length) / time.median,
    audioSecondsPerSecond: (1e6 * seconds) / time.median,
  }));
}

export const experiment = defineExperiment<Own>({
  name: 'audio-context',
  title: 'Short clips: errors and cost by margin of silence',
  about:
    'Clips are transcribed in sequence: as whole windows, and as short windows that end a margin of silence after the audio. If the text of a short window ' +
    'fails the thresholds, the whole window is encoded as well. Word error rates after openai/whisper’s English normalization.',
  full: { models: ['micro'], margins: [0, 1, 2, 4, 8], audio: '', repeats: 5, seconds: 600 },
  quick: { models: ['micro'], margins: [0, 1, 2, 4], audio: '', repeats: 3, seconds: 10 },
  groups: () => [{ name: 'margins', run: measure }],
  checkpointOnly: true,
  check: async ({ audio }) => {
    if (audio !== '') await findRecordings(audio);
  },
  compared: { base: 'full', field: 'stage', values: ['total'] },
  tables: audioContextTables,
  charts: audioContextCharts,
});
