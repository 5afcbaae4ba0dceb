/** The weights of Silero's voice detector, which are included in the package (models/silero-vad). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OneheadError, reasonOf } from '../errors.js';
import { packageRoot } from '../package-root.js';

/** The tensors in the addon's order: see native/cpu/voice_model.h. */
const names = [
  ...[0, 1, 2, 3].flatMap((layer) => [`encoder.${layer}.weight`, `encoder.${layer}.bias`]),
  ...['lstm.weight_ih', 'lstm.weight_hh', 'lstm.bias_ih', 'lstm.bias_hh', 'output.weight', 'output.bias'],
];

/** All weights concatenated. Throws OneheadError MODEL_INVALID. */
export async function readSileroWeights(): Promise<Float32Array> {
  const file = join(packageRoot(), 'models', 'silero-vad', 'model.safetensors');
  try {
    const bytes = await readFile(file);
    const begin = 8 + Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.toString('utf8', 8, begin)) as Record<string, { data_offsets: [number, number] }>;
    const parts = names.map((name) => bytes.subarray(...header[name].data_offsets.map((offset) => begin + offset)));
    return new Float32Array(new Uint8Array(Buffer.concat(parts)).buffer);
  } catch (cause) {
    throw new OneheadError(
      'MODEL_INVALID',
      `The voice detector's weights, ${file}, cannot be read: ${reasonOf(cause)}; install onehead again, or set the detector to 'webrtc'.`,
      { cause },
    );
  }
}
