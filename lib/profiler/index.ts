/**
 * The profiler as a library: run an experiment on shapes of your own, call one attention variant on arrays of your own,
 * or ask the I/O model what theory says.
 * @module profiler
 */

export { type CompareResult, type Comparison, compare } from './compare.js';
export type { CommonSettings, OwnSettings } from './experiments/experiment.js';
export { type ExperimentName, experimentNames } from './experiments/index.js';
export * as ioModel from './io-model/index.js';
export { type AttentionCall, type AttentionMeasurement, attention } from './measuring/attention.js';
export type { Machine } from './measuring/machine.js';
export { type ExperimentResult, type ProfileRow, readResults, toCsv, writeResults } from './measuring/result.js';
export { whisperConfig, whisperSizes, withKeyValueHeads } from './measuring/shapes.js';
export { type Statistics, statistics } from './measuring/statistics.js';
export { type TraceEvent, TraceFile } from './measuring/trace.js';
export { type ProfileOptions, profile } from './run.js';
export { writeReport } from './write-report.js';
