import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout as folder, samplesOf } from '../audio/support.js';
import { cudaKind, gpu, hasCuda } from '../device/devices.js';

const models = [
  { name: 'micro', directory: undefined, expected: 'expected.json' },
  {
    name: 'micro-mqa',
    directory: new URL('../../models/micro-mqa', import.meta.url).pathname,
    expected: 'expected-mqa.json',
  },
];

/** Few rows and many use different kernels. The emulation is slow, so it gets fewer windows. */
const cases = models.flatMap((model, index) => [
  ...(gpu ? [] : [{ ...model, device: 'cpu', batch: 6 }]),
  ...(gpu ? [3, 6, 70] : hasCuda ? [index === 0 ? 3 : 6] : []).map((batch) => ({ ...model, device: cudaKind, batch })),
]);

describe.each(cases)('$name on $device with $batch windows at once', ({ directory, expected, device, batch }) => {
  it('gives each window its own tokens and its own end', async () => {
    const entries = JSON.parse(readFileSync(folder + expected, 'utf8')).files.slice(0, 2) as {
      file: string;
      no_timestamps: { ids: number[] };
    }[];
    const model = await WhisperModel.load(directory, { device, batch, dtype: 'float32', threads: 2 });
    try {
      using features = await model.features(
        await Promise.all(entries.map(({ file }) => samplesOf(file.replace('.wav', '.flac')))),
      );
      using both = await model.encode(features);
      // The two windows alternately, in all slots.
      using encoded = model.device.tensor('float32', [batch, ...both.shape.slice(1)]);
      const size = both.size / 2;
      for (let slot = 0; slot < batch; ++slot) {
        await model.device.copy(both, encoded, {
          fromElement: (slot % 2) * size,
          toElement: slot * size,
          count: size,
        });
      }
      const few = gpu || device === 'cpu' ? 99 : 6; // the emulation takes its time for a token
      const tokens = await model.generate(encoded, { language: 'en', maxNewTokens: few });
      expect(tokens).toEqual(
        Array.from({ length: batch }, (_, slot) => entries[slot % 2].no_timestamps.ids.slice(0, few)),
      );
    } finally {
      model.dispose();
    }
  }, 600_000);
});

it.runIf(hasCuda)(
  'transcribes on a CUDA device as on the CPU, words and all',
  async () => {
    const transcribe = async (device: string) => {
      using whisper = await Whisper.load(undefined, { device, dtype: 'float32' });
      const { timings: _, ...transcription } = await whisper.transcribe(`${folder}02_seen.flac`, {
        wordTimestamps: true,
      });
      return transcription;
    };
    const [cpu, cuda] = [await transcribe('cpu'), await transcribe(cudaKind)];
    const rounded = ({ segments, ...rest }: typeof cpu) => ({
      ...rest,
      segments: segments.map((segment) => ({
        ...segment,
        avg_logprob: expect.closeTo(segment.avg_logprob, 4),
        no_speech_prob: expect.closeTo(segment.no_speech_prob, 4),
        words: segment.words?.map((word) => ({ ...word, probability: expect.closeTo(word.probability, 3) })),
      })),
    });
    expect(cuda).toEqual(rounded(cpu));
  },
  600_000,
);
