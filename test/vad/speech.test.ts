import { describe, expect, it } from 'vitest';
import { SpeechSource } from '../../lib/vad/speech.js';
import { joined, samplesOf } from '../audio/support.js';

const rate = 16000;

const silence = (seconds: number) => Float32Array.from({ length: seconds * rate }, (_, i) => 1e-4 * Math.sin(i * i));

/** The speech in samples that arrive in chunks. */
async function speechOf(samples: Float32Array, chunk: number, options = {}) {
  const source = {
    duration: null,
    warnings: [],
    incomplete: false,
    close: async () => {},
    async *chunks() {
      for (let at = 0; at < samples.length; at += chunk) yield samples.subarray(at, at + chunk);
    },
  };
  const speech = await SpeechSource.open(source, rate, options, false);
  const kept: Float32Array[] = [];
  for await (const one of speech.chunks()) kept.push(one);
  await speech.release();
  return { speech, kept: joined(kept) };
}

describe('speech', () => {
  it.each([
    ['silero', 480],
    ['silero', 1000],
    ['silero', 16000],
    ['silero', 1_000_000],
    ['webrtc', 1000],
    ['webrtc', 1_000_000],
  ])('is found between silences by %s, in chunks of %i samples', async (detector, chunk) => {
    const [first, second] = [await samplesOf('02_seen.flac'), await samplesOf('01_seen.flac')];
    const samples = joined([silence(3), first, silence(5), second, silence(4)]);
    const { speech, kept } = await speechOf(samples, chunk, { detector, padding: 0.3 });
    expect(speech.pieces).toHaveLength(2);
    expect(speech.position).toBe(samples.length);
    const ends = [3 * rate + first.length, 8 * rate + first.length + second.length];
    [3 * rate, 8 * rate + first.length].forEach((begin, i) => {
      const piece = speech.pieces[i];
      expect(Math.abs(piece.begin - begin) / rate).toBeLessThan(0.7);
      expect(Math.abs(piece.begin + piece.length - ends[i]) / rate).toBeLessThan(0.7);
      // The mapping is exact: each piece's samples equal the recording's.
      const middle = piece.at + Math.floor(piece.length / 2);
      const back = Math.round(speech.toRecording(middle / rate, false) * rate);
      expect(kept.subarray(middle, middle + 100)).toEqual(samples.subarray(back, back + 100));
    });
    expect(kept.length).toBe(speech.pieces.reduce((sum, { length }) => sum + length, 0));
  });

  it('maps ends to the piece before a boundary, and starts to the piece after it', async () => {
    const [first, second] = [await samplesOf('02_seen.flac'), await samplesOf('01_seen.flac')];
    const { speech } = await speechOf(joined([first, silence(5), second]), 4096);
    const [a, b] = speech.pieces;
    expect(speech.toRecording(b.at / rate, true) * rate).toBeCloseTo(a.begin + a.length, 3);
    expect(speech.toRecording(b.at / rate, false) * rate).toBeCloseTo(b.begin, 3);
  });

  it.each([
    ['silence', silence(6)],
    ['nothing', new Float32Array(6 * rate)],
    ['less than a frame', new Float32Array(100)],
  ])('is not found in %s', async (_, samples) => {
    const { kept } = await speechOf(samples, 1600);
    expect(kept).toHaveLength(0);
  });

  it('keeps short pauses, and ends at longer ones', async () => {
    const [first, second] = [await samplesOf('02_seen.flac'), await samplesOf('01_seen.flac')];
    const samples = joined([first, silence(1.5), second]);
    expect((await speechOf(samples, 1600, { minSilence: 2.5 })).speech.pieces).toHaveLength(1);
    expect((await speechOf(samples, 1600, { minSilence: 0.8, padding: 0.1 })).speech.pieces).toHaveLength(2);
  });

  it.each([
    [{ detector: 'klingon' }, "Expected vad.detector to be 'silero' or 'webrtc'"],
    [{ mode: 7 }, 'Expected vad.mode to be a whole number from 0 to 3 but received 7.'],
    [{ minSilence: -1 }, 'Expected vad.minSilence to be a number from 0'],
    [
      { model: '/some/silero_vad.onnx' },
      "Expected vad.model to be absent, since Silero's model is included in the package",
    ],
    [{ negativeThreshold: 2 }, 'Expected vad.negativeThreshold to be a number from 0 to 1 but received 2.'],
  ])('refuses %o', async (options, message) => {
    await expect(speechOf(silence(1), 1600, options)).rejects.toThrow(message);
  });
});
