/** Temperature fallback: openai/whisper's decode_with_fallback, for many windows at once. */
import { OneheadError } from '../../errors.js';
import type { DecodeCall, Decoder, SlotResult } from '../model/decoder.js';
import type { SlotRequest, SlotSearch } from '../model/slots.js';
import { compressionRatio } from './compression.js';
import type { Decoding } from './resolve.js';

/** A window's text and how it was found. */
export interface Attempt extends SlotResult {
  temperature: number;
  /** Mean log-probability of the tokens and the end token, as openai/whisper counts it. */
  averageLogProbability: number;
  compressionRatio: number;
}

/** True when the next temperature is to be tried. */
export function needsFallback(
  attempt: Pick<Attempt, 'compressionRatio' | 'averageLogProbability' | 'noSpeechProbability'>,
  limits: Pick<Decoding, 'compressionRatioThreshold' | 'logProbabilityThreshold' | 'noSpeechThreshold'>,
): boolean {
  const { compressionRatioThreshold, logProbabilityThreshold } = limits;
  if (isSilent(attempt, limits)) return false;
  const repetitive = compressionRatioThreshold !== null && attempt.compressionRatio > compressionRatioThreshold;
  const improbable = logProbabilityThreshold !== null && attempt.averageLogProbability < logProbabilityThreshold;
  return repetitive || improbable;
}

/** True when silence is probable and the text is not: it is not decoded again. */
function isSilent(
  { noSpeechProbability, averageLogProbability }: Pick<Attempt, 'averageLogProbability' | 'noSpeechProbability'>,
  { logProbabilityThreshold, noSpeechThreshold }: Pick<Decoding, 'logProbabilityThreshold' | 'noSpeechThreshold'>,
): boolean {
  return (
    noSpeechThreshold !== null &&
    logProbabilityThreshold !== null &&
    noSpeechProbability > noSpeechThreshold &&
    averageLogProbability < logProbabilityThreshold
  );
}

/** True when a window's text is to be left out as silence: openai/whisper's transcribe. */
export function isSkipped(
  { noSpeechProbability, averageLogProbability }: Pick<Attempt, 'averageLogProbability' | 'noSpeechProbability'>,
  { logProbabilityThreshold, noSpeechThreshold }: Pick<Decoding, 'logProbabilityThreshold' | 'noSpeechThreshold'>,
): boolean {
  if (noSpeechThreshold === null || noSpeechProbability <= noSpeechThreshold) return false;
  return logProbabilityThreshold === null || averageLogProbability <= logProbabilityThreshold;
}

/** How windows are searched at one temperature. */
export function searchAt(temperature: number, decoding: Decoding): SlotSearch & { group: number } {
  const beams = temperature === 0 && decoding.beamSize > 1;
  return {
    method: beams ? 'beams' : 'tokens',
    group: temperature === 0 ? decoding.beamSize : decoding.bestOf,
    temperature,
    patience: decoding.patience,
    lengthPenalty: decoding.lengthPenalty,
    repetitionPenalty: decoding.repetitionPenalty,
    noRepeatNgramSize: decoding.noRepeatNgramSize,
    top: decoding.top,
    words: decoding.words,
    suppressed: decoding.suppressed,
  };
}

/** Probabilities that are not numbers: without this their text would be empty, as that of silence is. */
const overflown = () =>
  new OneheadError(
    'MODEL_INVALID',
    "The model's numbers overflow, so no text can come of them; load it with dtype 'float32', or, where that does not help, export it again.",
  );

/** Decodes all windows, and those whose text fails the thresholds again at the next temperature. `seeds` are the windows' own. */
export async function decodeWithFallback(
  decoderOf: (group: number) => Decoder,
  requests: readonly SlotRequest[],
  decoding: Decoding,
  textOf: (tokens: readonly number[]) => string,
  call: DecodeCall = {},
): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  let pending = requests.map((_, window) => window);
  for (const [turn, temperature] of decoding.temperatures.entries()) {
    const search = searchAt(temperature, decoding);
    const asked = requests.map((request, window) =>
      pending.includes(window)
        ? { ...request, seed: decoding.seed + 7919 * turn + 104729 * (request.seed ?? 0) }
        : null,
    );
    const results = await decoderOf(search.group).decode(asked, search, call);
    for (const window of pending) {
      const result = results[window]!;
      const { tokens, logProbabilities } = result;
      const generated = tokens.length - (requests[window].prefix?.length ?? 0);
      const sum = logProbabilities.reduce((a, b) => a + b, 0);
      if (!Number.isFinite(sum) || !Number.isFinite(result.noSpeechProbability)) throw overflown();
      attempts[window] = {
        ...result,
        temperature,
        averageLogProbability: sum / (generated + 1),
        compressionRatio: compressionRatio(textOf(tokens).trim()),
      };
    }
    pending = pending.filter((window) => needsFallback(attempts[window], decoding));
    if (pending.length === 0) break;
  }
  return attempts;
}
