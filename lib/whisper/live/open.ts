/** Opens a transcriber. All options are checked against the model before any audio arrives. */
import { OneheadError } from '../../errors.js';
import { check } from '../../options/options.js';
import { decodingOptions } from '../decoding/options.js';
import { languageAndTask, noPreviousToken, previousRoom } from '../decoding/prompt.js';
import { checkTokens, resolveDecoding } from '../decoding/resolve.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import { lastTokens } from '../transcription/prompt-tokens.js';
import type { CheckedLiveOptions, LiveOptions } from './options.js';
import { defaultPolicy } from './policy.js';
import { Transcriber } from './transcriber.js';
import { TurnDetector } from './turn-detector.js';
import type { LiveEvent } from './types.js';

/**
 * Opens a transcriber with its request; `end` closes both. `callerOptions` are the options without
 * defaults, since the defaults of `vad` differ here. Throws OneheadError INVALID_ARGUMENT, NOT_SUPPORTED or BUSY.
 */
export async function openTranscriber(
  model: WhisperModel,
  options: CheckedLiveOptions,
  callerOptions: LiveOptions,
  signal: AbortSignal,
  emit: (event: LiveEvent) => void,
): Promise<{ transcriber: Transcriber; end(): Promise<void> }> {
  const { checkpoint } = model;
  const { generation, config, preprocessor } = checkpoint;
  const tokenizer = await checkpoint.tokenizer();
  const { vad, prompt = [] } = options;
  if (typeof prompt !== 'string') checkTokens('prompt', prompt, config.vocabulary);
  const promptTokens = lastTokens(prompt, previousRoom(config.targetPositions), (text) => tokenizer.encode(text));
  if (promptTokens.length > 0 && generation.previousToken === null) throw noPreviousToken();
  if (vad !== false && preprocessor.sampleRate !== 16_000) {
    throw new OneheadError(
      'NOT_SUPPORTED',
      `Voice activity detection needs audio at 16,000 Hz, but this model uses ${preprocessor.sampleRate} Hz; set vad ` +
        'to false.',
      { argument: 'vad' },
    );
  }
  const settings = {
    ...languageAndTask(options, generation),
    timestamps: 'none' as const,
    decoding: await resolveDecoding(check(decodingOptions, { wordTimestamps: true }), checkpoint),
    textOf: (tokens: readonly number[]) => tokenizer.decode(tokens),
    tokenizer,
  };
  const callerVad = typeof callerOptions.vad === 'object' && callerOptions.vad !== null ? callerOptions.vad : {};
  const detector = vad === false ? null : await TurnDetector.open(callerVad);
  try {
    const request = model.request({ priority: options.priority, signal });
    const transcriber = new Transcriber({
      model,
      request,
      tokenizer,
      options,
      policy: options.policy ?? defaultPolicy(checkpoint),
      settings,
      prompt: promptTokens,
      detector,
      emit,
    });
    const end = async () => {
      request.close();
      await transcriber.close();
    };
    return { transcriber, end };
  } catch (error) {
    await detector?.close();
    throw error;
  }
}
