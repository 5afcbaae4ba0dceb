/** Unusable weights give an error that names file and tensor, never an empty text or a crash. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { openSafetensors } from '../../lib/whisper/checkpoint/safetensors.js';
import { writeSafetensors } from '../../lib/whisper/checkpoint/safetensors-writer.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { cudaKind, gpu, hasCuda } from '../device/devices.js';

const micro = new URL('../../models/micro', import.meta.url).pathname;
const sound = readFileSync(join(micro, 'model.safetensors'));
const root = mkdtempSync(join(tmpdir(), 'onehead-weights-'));
const directory = join(root, 'model');
const file = join(directory, 'model.safetensors');
cpSync(micro, directory, { recursive: true });
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => writeFileSync(file, sound));

describe('a weight that is not a number', () => {
  const kinds = new Map<string, string>();
  const index = openSafetensors(micro);

  it('is refused at load, whichever tensor it is in', async () => {
    for (const name of (await index).keys()) kinds.set(name.replace(/\.\d+\./, '.'), name);
    expect(kinds.size).toBeGreaterThan(40);
    for (const name of kinds.values()) {
      const { offset, bytes, dtype } = (await index).get(name)!;
      expect(dtype).toBe('float16');
      const bad = Buffer.from(sound);
      bad.writeUInt16LE(0x7e00, offset + bytes - 2);
      writeFileSync(file, bad);
      await expect(WhisperModel.load(directory, { device: 'cpu', threads: 1 }), name).rejects.toMatchObject({
        code: 'MODEL_INVALID',
        message: expect.stringMatching(
          new RegExp(
            `^${file}: element ${bytes / 2 - 1} of tensor '(model\\.)?${name.replace(/^model\./, '')}' is not a number`,
          ),
        ),
      });
    }
  });

  it.runIf(gpu || hasCuda)('is refused on a GPU too', async () => {
    const { offset } = (await index).get('model.decoder.layers.0.fc1.weight')!;
    const bad = Buffer.from(sound);
    bad.writeUInt16LE(0xfc00, offset + 6);
    writeFileSync(file, bad);
    await expect(WhisperModel.load(directory, { device: cudaKind })).rejects.toThrow(
      "element 3 of tensor 'decoder.layers.0.fc1.weight' is infinite",
    );
  });
});

it.each([{}, { temperature: 0.5 }, { temperature: 0, beamSize: 3 }])(
  'numbers that overflow as they are computed end in an error, not in an empty text: %j',
  async (options) => {
    const length = Number(sound.readBigUInt64LE());
    const header = JSON.parse(sound.toString('utf8', 8, 8 + length));
    const data = Buffer.from(sound.subarray(8 + length));
    const norm = header['model.decoder.layer_norm.weight'];
    norm.dtype = 'BF16';
    for (let at = norm.data_offsets[0]; at < norm.data_offsets[1]; at += 2) data.writeUInt16LE(0x7f00, at); // 1.7e38
    const text = Buffer.from(JSON.stringify(header));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(file, Buffer.concat([prefix, text, data]));
    using whisper = await Whisper.load(directory, { device: 'cpu', dtype: 'float32', threads: 1 });
    await expect(whisper.transcribe(join(micro, 'sample.flac'), options)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining("The model's numbers overflow"),
    });
  },
);

describe('a file that is truncated', () => {
  it('after its header was read', async () => {
    const checkpoint = await readCheckpoint(directory);
    truncateSync(file, sound.length - 2);
    await expect(WhisperModel.open(checkpoint, { device: 'cpu' })).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining(`${file} ends before the weights in its header`),
    });
  });

  it('before it is converted', async () => {
    const tensors = await openSafetensors(directory);
    truncateSync(file, 100_000);
    const same = writeSafetensors(
      join(root, 'converted.safetensors'),
      tensors,
      (_, { shape }) => shape[0],
      (_, data) => data,
    );
    await expect(same).rejects.toMatchObject({ code: 'MODEL_INVALID', message: expect.stringContaining(file) });
  });

  it('during loading, many times, does not crash the process', async () => {
    const child = spawn(
      process.execPath,
      [
        '--input-type=module',
        '--eval',
        `
        import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
        import { setTimeout as sleep } from 'node:timers/promises';
        import { Whisper } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
        const [directory, file] = ${JSON.stringify([directory, file])};
        const sound = readFileSync(file);
        const outcomes = { loaded: 0, refused: 0 };
        for (let turn = 0; turn < 60; ++turn) {
          writeFileSync(file, sound);
          const loading = Whisper.load(directory, { device: 'cpu', threads: 1 }).then(
            (whisper) => { whisper.dispose(); ++outcomes.loaded; },
            (error) => {
              if (error.code !== 'MODEL_INVALID' || !error.message.includes(file)) throw error;
              ++outcomes.refused;
            },
          );
          await sleep(turn % 20);
          truncateSync(file, (turn * 7919) % sound.length);
          await loading;
        }
        console.log(JSON.stringify(outcomes));
        `,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    const [status, signal] = await once(child, 'close');
    expect([status, signal]).toEqual([0, null]);
    const { loaded, refused } = JSON.parse(output);
    expect(loaded + refused).toBe(60);
    expect(refused).toBeGreaterThan(0);
  });
});
