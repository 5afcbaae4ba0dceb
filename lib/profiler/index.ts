/**
 * The profiler as a library: run an experiment on shapes of your own, call one attention variant on arrays of your own, or ask the I/O model
 * what theory says.
 * @module profiler
 */
export { type AttentionCall, type AttentionMeasurement, attention } from './attention.js';
export { type CompareResult, type Comparison, compare } from './compare.js';
export type { CommonSettings, OwnSettings } from './experiment.js';
export { type ExperimentName, experimentNames } from './experiments/index.js';
export * as ioModel from './io-model/index.js';
export type { Machine } from './machine.js';
export { writeReport } from './report/write.js';
export { type ExperimentResult, type ProfileRow, readResults, toCsv, writeResults } from './result.js';
export { type ProfileOptions, profile } from './run.js';
export { whisperConfig, whisperSizes, withKeyValueHeads } from './shapes.js';
export { type Statistics, statistics } from './statistics.js';
export { type TraceEvent, TraceFile } from './trace.js';
