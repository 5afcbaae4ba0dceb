/**
 * Whisper speech-to-text on its own attention kernels.
 * @module onehead
 */
export {
  type AttentionCase,
  type AttentionVariant,
  type AttentionVariantName,
  attentionSymbols,
  attentionVariants,
  chooseAlgorithm as chooseAttentionAlgorithm,
  notSupportedReasons as attentionNotSupportedReasons,
} from './attention/variants.js';
export type { AudioInput, AudioOptions, AudioTrack } from './audio/index.js';
export type { Channels } from './audio/options.js';
export type { Samples } from './audio/samples.js';
export {
  Device,
  type DeviceOptions,
  type Part,
  type RecordOptions,
  WeightsFile,
} from './device/device.js';
export type { Information, MemoryFigures, TensorData } from './device/native.js';
export type {
  Activation,
  AttentionAlgorithm,
  AttentionOptions,
  AttentionScores,
  BeamState,
  ChoiceOptions,
  ConvolutionOptions,
  DecodingState,
  LinearOptions,
  NextTokenRules,
  Norm,
  Operations,
  OutputOptions,
  RowsOptions,
  Sampling,
  WeightIndices,
} from './device/operations.js';
export type {
  OperationTime,
  Program,
  Replays,
  Run,
  RunCondition,
  RunOptions,
  RunPieces,
} from './device/program.js';
export { Tensor } from './device/tensor.js';
export type { ReadData, TransferPieces } from './device/transfer.js';
export type { ElementType, FloatingType } from './element-types.js';
export { type ErrorCode, type ErrorDetails, errorCodes, httpStatus, OneheadError } from './errors.js';
export { type AlignmentOptions, parseAlignment, readAlignment, type TimedWord } from './evaluate/alignments.js';
export { countErrors, type ErrorCounts, errorRate, type TextErrors, textErrors } from './evaluate/errors.js';
export { normalizeBasic, normalizeEnglish } from './evaluate/normalize.js';
export {
  summarizeWordTimes,
  type TimeErrors,
  type WordTimeError,
  type WordTimes,
  wordTimeErrors,
} from './evaluate/word-times.js';
export { type Format, type FormatName, type FormatOptions, formats } from './formats/index.js';
export type { VadOptions } from './vad/options.js';
export type { Checkpoint } from './whisper/checkpoint/checkpoint.js';
export type { GenerationConfig, PreprocessorConfig, StackConfig, WhisperConfig } from './whisper/checkpoint/config.js';
export type { TensorEntry, TensorIndex } from './whisper/checkpoint/safetensors.js';
export type { WhisperTokenizer } from './whisper/checkpoint/tokenizer.js';
export type { Journal } from './whisper/decoding/journal.js';
export type { DecodingOptions, GenerateOptions } from './whisper/decoding/options.js';
export type { Task, TimestampMode } from './whisper/decoding/prompt.js';
export type { SymbolClass } from './whisper/decoding/suppression.js';
export { type Generation, WhisperModel } from './whisper/decoding/whisper-model.js';
export type { WindowResult } from './whisper/decoding/windows.js';
export { LiveTranscription } from './whisper/live/live.js';
export type { LiveOptions, LivePolicy } from './whisper/live/options.js';
export type {
  Confirmed,
  Failed,
  Final,
  Hypothesis,
  LiveEvent,
  Lost,
  SpeechStarted,
  SpeechStopped,
} from './whisper/live/types.js';
export type { DataType, PartPrecision, Precision, PrecisionOptions } from './whisper/model/precision.js';
export type { RankedTokens } from './whisper/model/search.js';
export type { DownloadProgress, LoadOptions } from './whisper/model/types.js';
export { TranscriptionError } from './whisper/transcription/failure.js';
export type { DetectLanguageOptions, TranscribeOptions } from './whisper/transcription/options.js';
export type { Timings } from './whisper/transcription/timings.js';
export type {
  Clip,
  DetectedLanguage,
  Omission,
  PartialText,
  Segment,
  TranscribeProgress,
  Transcription,
  Word,
} from './whisper/transcription/types.js';
export { Whisper } from './whisper/whisper.js';
