import { expect, it } from 'vitest';
import { compareTypes } from '../../lib/evaluate/compare.js';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { onehead } from '../cli/command.js';

const transcription = (text: string, late = 0) =>
  ({
    text,
    duration: 3,
    segments: [
      { words: text.split(' ').map((word, i) => ({ word, start: i + late, end: i + 0.5 + late, probability: 1 })) },
    ],
  }) as unknown as Transcription;

it('compares each type with the first', async () => {
  const closed: string[] = [];
  const texts: Record<string, [string, number]> = { float32: ['red green grey', 0], int8: ['red green blue', 0.04] };
  const open = async (type: string) => ({
    transcribe: async (audio: string | Float32Array) =>
      typeof audio === 'string'
        ? transcription(...texts[type])
        : transcription(type === 'int8' && audio[0] !== 0 ? 'Thank you.' : ''),
    close: () => closed.push(type),
  });
  const recordings = [{ file: 'a.wav', reference: 'red green blue' }];
  const [first, other] = await compareTypes(recordings, ['float32', 'int8'], open);
  expect(first).toMatchObject({ type: 'float32', difference: 0, otherTexts: 0, silent: true });
  expect(first.wordErrorRate).toBeCloseTo(1 / 3);
  expect(other).toMatchObject({ type: 'int8', wordErrorRate: 0, otherTexts: 1, silent: false });
  expect(other.difference).toBeCloseTo(-1 / 3);
  expect(other.shift).toMatchObject({ words: 3, matched: 2 });
  expect(other.shift.starts.mean).toBeCloseTo(0.04);
  expect(closed).toEqual(['float32', 'int8']);
});

it('prints a line for each type, and refuses conflicting options', async () => {
  const { status, stdout } = await onehead([
    'evaluate',
    'test/fixtures/spoken.jsonl',
    '--device',
    'cpu',
    '--compare',
    'float32,int8',
  ]);
  expect(status).toBe(0);
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(4);
  expect(lines[2]).toMatch(/^float32 +0\.00 % +0\.00 +0\.00 % +0 \| +0\.0 +0\.0 +100 % \| silent$/);
  expect(lines[3]).toMatch(/^int8 +0\.00 % +0\.00 +0\.00 % +0 \| +\d+\.\d +\d+\.\d +\d+ % \| silent$/);
  const refused = await onehead(['evaluate', 'x', '--compare', 'float32,int8', '--dtype', 'int8']);
  expect(refused).toMatchObject({ status: 2 });
  expect(refused.stderr).toContain('--compare loads the model with each type');
});
