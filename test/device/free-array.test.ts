/** Memory of samples that is freed before garbage collection: ours at once, a caller's never. */
import { expect, test } from 'vitest';
import { openAudio } from '../../lib/audio/index.js';
import { freeArray } from '../../lib/device/free-array.js';
import { native } from '../../lib/device/native.js';
import { SpeechSource } from '../../lib/vad/speech.js';
import { SampleWindow } from '../../lib/whisper/transcription/samples.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout, readAll } from '../audio/support.js';

const recording = `${heldout}12_long_seen.flac`;

/** The same chunks, which are also put into `seen`. */
async function* observed(chunks: AsyncIterable<Float32Array>, seen: Float32Array[]) {
  for await (const chunk of chunks) {
    seen.push(chunk);
    yield chunk;
  }
}

async function held(chunks: AsyncIterable<Float32Array>, ownsChunks: boolean | undefined): Promise<Float32Array> {
  const window = new SampleWindow(chunks, ownsChunks);
  await window.readTo(Number.POSITIVE_INFINITY);
  const samples = new Float32Array(window.end);
  window.fill(samples, 0);
  window.release();
  return samples;
}

test('a freed array has no elements, but a part of a buffer and shared memory stay', () => {
  const whole = new Float32Array(1000);
  freeArray(whole);
  expect(whole.length).toBe(0);
  freeArray(whole);

  const buffer = new Float32Array(1000).fill(1);
  freeArray(buffer.subarray(10));
  expect(buffer).toEqual(new Float32Array(1000).fill(1));
  const shared = new Float32Array(new SharedArrayBuffer(400));
  freeArray(shared);
  expect(shared.length).toBe(100);
  for (const wrong of [undefined, null, 3, 'x', {}, new ArrayBuffer(8), new DataView(new ArrayBuffer(8))]) {
    expect(() => native().detach?.(wrong as never)).toThrow(/^Expected the argument of detach to be a typed array/);
  }
});

test('the chunks of a decoded recording are freed once they are copied', async () => {
  const { samples } = await readAll(recording);
  const seen: Float32Array[] = [];
  const source = await openAudio(recording);
  expect(await held(observed(source.chunks(), seen), source.ownsChunks)).toEqual(samples);
  expect(seen.length).toBeGreaterThan(5);
  expect(seen.every(({ length }) => length === 0)).toBe(true);
});

test('voice detection frees what it has copied, and its speech is the same', async () => {
  const speechOf = async (ownsChunks: boolean) => {
    const seen: Float32Array[] = [];
    const opened = await openAudio(recording);
    const source = { ...opened, ownsChunks, chunks: () => observed(opened.chunks(), seen) };
    const speech = await SpeechSource.open(source, 16_000, {}, false);
    const samples = await held(speech.chunks(), speech.ownsChunks);
    await speech.release();
    return { samples, left: seen.filter(({ length }) => length > 0).length, count: seen.length };
  };
  const [kept, freed] = [await speechOf(false), await speechOf(true)];
  expect(freed.samples).toEqual(kept.samples);
  expect(kept.samples.length).toBeGreaterThan(16_000);
  expect(kept.left).toBe(kept.count);
  // The end of the recording is still in use at its end.
  expect(freed.left).toBeLessThanOrEqual(3);
});

test("a caller's samples stay as they are", async () => {
  const samples = (await readAll(recording)).samples.slice(0, 64_000);
  const whisper = await Whisper.load(undefined, { windows: 1 });
  try {
    for (const vad of [false, true]) {
      const given = Array.from({ length: 5 }, () => samples.slice());
      await whisper.transcribe(given[0], { language: 'en', vad });
      await whisper.transcribe({ samples: given[1], sampleRate: 16_000 }, { language: 'en', vad });
      await whisper.transcribe({ samples: given[2], sampleRate: 22_050 }, { language: 'en', vad });
      await whisper.transcribe({ samples: [given[3], given[4]], sampleRate: 16_000 }, { language: 'en', vad });
      for (const array of given) expect(array).toEqual(samples);
    }
  } finally {
    await whisper.dispose();
  }
});
