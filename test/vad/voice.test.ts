import { describe, expect, it } from 'vitest';
import { listen, Voice } from '../../lib/vad/voice.js';
import { samplesOf } from '../audio/support.js';

describe('voice in a piece of audio', () => {
  it('is detected, however quiet', async () => {
    const speech = await samplesOf('02_seen.flac');
    const voice = await listen(speech);
    const faint = await listen(speech.map((sample) => sample * 10 ** (-60 / 20)));
    expect(voice.longest()).toBeGreaterThan(0.5);
    expect(faint.longest()).toBeGreaterThan(0.8 * voice.longest());
    expect(faint.seconds(0.5)).toBeGreaterThan(0.8 * voice.seconds(0.5));
  });

  it('is not detected in silence, noise and tones', async () => {
    const rate = 16000;
    const sounds = {
      nothing: () => 0,
      'the least that 16 bits hold': (i: number) => (i % 7 === 0 ? 2 ** -15 : 0),
      noise: (i: number) => 0.2 * Math.sin(i * i * 0.37),
      'a tone': (i: number) => 0.3 * Math.sin(i * 0.2),
    };
    for (const sound of Object.values(sounds)) {
      const voice = await listen(Float32Array.from({ length: 5 * rate }, (_, i) => sound(i)));
      expect(voice.probabilities).toHaveLength(157);
      expect(voice.longest()).toBe(0);
    }
    expect((await listen(new Float32Array(0))).longest()).toBe(0);
  });

  it('is measured in a part of it', () => {
    const voice = new Voice(Float32Array.of(0.9, 0.9, 0.1, 0.4, 0.4, 0.4, 0.3));
    expect(voice.longest()).toBeCloseTo(3 * 0.032);
    expect(voice.longest(0, 0.064)).toBeCloseTo(2 * 0.032);
    expect(voice.longest(-1, 0.01)).toBeCloseTo(0.032);
    expect(voice.longest(0.07, 0.09)).toBe(0);
    expect(voice.seconds(0.5)).toBeCloseTo(2 * 0.032);
    expect(voice.seconds(0.2, 0.1)).toBeCloseTo(4 * 0.032);
  });
});
