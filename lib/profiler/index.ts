/**
 * The profiler as a library: `profile` runs an experiment, also on custom shapes; `attention` measures one attention
 * call on plain arrays; `ioModel` computes bytes and operations from shapes.
 * @module profiler
 */

export { type CompareResult, type Comparison, compare } from './compare.js';
export { type ExperimentName, experimentNames } from './experiments/index.js';
export type { CommonSettings, OwnSettings, ProfileOptions, ProfileProgress } from './experiments/options.js';
export * as ioModel from './io-model/index.js';
export { type AttentionCall, type AttentionMeasurement, attention } from './measuring/attention.js';
export type { Machine } from './measuring/machine.js';
export { type ExperimentResult, type ProfileRow, readResults, toCsv, writeResults } from './measuring/result.js';
export { whisperConfig, whisperSizes, withKeyValueHeads } from './measuring/shapes.js';
export { type Statistics, statistics } from './measuring/statistics.js';
export { type TraceEvent, TraceFile } from './measuring/trace.js';
export { profile } from './run.js';
export { writeReport } from './write-report.js';
