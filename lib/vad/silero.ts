/** Silero's voice activity detector on ONNX Runtime, both of which the user installs. */
import { existsSync } from 'node:fs';
import { OneheadError } from '../errors.js';
import type { VoiceDetector } from './voice-detector.js';

/** What is used of onnxruntime-node. */
interface Tensor {
  data: Float32Array;
}
interface Session {
  inputNames: readonly string[];
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
  release(): Promise<void>;
}
interface Runtime {
  InferenceSession: { create(path: string, options: object): Promise<Session> };
  Tensor: new (type: string, data: Float32Array | BigInt64Array, shape: readonly number[]) => Tensor;
}

const frame = 512;
/** Samples of the frame before that each frame is given with. */
const context = 64;
const stateShape = [2, 1, 128];

export async function openSilero(model: string | undefined): Promise<VoiceDetector> {
  if (model === undefined || !existsSync(model)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Silero's model file is needed as vad.model, but ${model === undefined ? 'none was given' : `there is no ${model}`}; download silero_vad.onnx from its makers, or use the detector 'webrtc'.`,
      { argument: 'vad' },
    );
  }
  const name = 'onnxruntime-node';
  const runtime: Runtime = await import(name).catch((cause: unknown) => {
    throw new OneheadError(
      'NOT_SUPPORTED',
      "The detector 'silero' runs on the package onnxruntime-node, which is not installed: `npm install onnxruntime-node`, or use the detector 'webrtc'.",
      { argument: 'vad', cause },
    );
  });
  const unusable = (cause?: unknown) =>
    new OneheadError(
      'INVALID_ARGUMENT',
      `${model} is not Silero's model of version 5 or later; download silero_vad.onnx from its makers, or use the detector 'webrtc'.`,
      { argument: 'vad', cause },
    );
  const session = await runtime.InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 }).catch(
    (cause: unknown) => {
      throw unusable(cause);
    },
  );
  if (!['input', 'state', 'sr'].every((input) => session.inputNames.includes(input))) {
    await session.release();
    throw unusable();
  }
  const rate = new runtime.Tensor('int64', BigInt64Array.of(16000n), []);
  let state = new runtime.Tensor('float32', new Float32Array(256), stateShape);
  const given = new Float32Array(context + frame);
  return {
    frame,
    async probabilities(samples) {
      const found: number[] = [];
      for (let at = 0; at < samples.length; at += frame) {
        given.copyWithin(0, frame);
        given.set(samples.subarray(at, at + frame), context);
        const input = new runtime.Tensor('float32', given, [1, given.length]);
        const { output, stateN } = await session.run({ input, state, sr: rate });
        state = stateN;
        found.push(output.data[0]);
      }
      return found;
    },
    close: () => session.release(),
  };
}
