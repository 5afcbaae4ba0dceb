/** `onehead status`, `retry` and `cancel`: show and change the state of a queue. */
import { setTimeout as sleep } from 'node:timers/promises';
import { chooseOptions, statusOptions } from '../batch/options.js';
import { type Status, statusOf } from '../batch/status.js';
import { check } from '../options/options.js';
import { unlessAborted } from '../signals.js';
import { readArguments } from './arguments.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { withFlagNames } from './messages.js';
import { plural } from './plural.js';
import { formatSource, openQueue, queueChoice, queueFlags } from './queue.js';
import { UsageError } from './usage.js';

const statusFlags = flagsOf(statusOptions);
const chooseFlags = flagsOf(chooseOptions);

export const statusHelp =
  () => `onehead status                         shows the progress and speed of a queue, and what failed

${flagsHelp([...queueFlags, ...statusFlags])}
  The exit status is 1 if recordings are set aside.
`;

export const retryHelp = () => `onehead retry [RECORDING...]           retries recordings that were set aside

${flagsHelp([...queueFlags, ...chooseFlags])}
  RECORDING is a source, name or id, as status shows them. The exit status is 1 if none of them was
  set aside.
`;

export const cancelHelp =
  () => `onehead cancel [RECORDING...]          removes waiting recordings, and ends those in progress

${flagsHelp([...queueFlags, ...chooseFlags])}
  RECORDING is as for retry. The exit status is 1 if none of them is waiting or in progress.
`;

/** Formats seconds, such as 3725 as '1 h 2 min'. */
function formatDuration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours >= 48) return `${Math.round(hours / 24)} days`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.ceil(seconds)} s`;
}

function statusText({ counts, rate, remaining, active, failures, incomplete }: Status): string {
  const { waiting, delayed, done, failed } = counts;
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const lines = [
    `${done} of ${plural(total, 'recording')} done, ${counts.active} in progress, ${waiting} waiting` +
      `${delayed > 0 ? `, ${delayed} waiting for a retry` : ''}${failed > 0 ? `, ${failed} set aside` : ''}`,
  ];
  if (rate) {
    lines.push(
      `${rate.recordingsPerHour.toFixed(0)} recordings per hour, ${rate.realTime.toFixed(1)} times real time` +
        (remaining !== null && remaining > 0 ? `; done in about ${formatDuration(remaining)}` : ''),
    );
  }
  if (incomplete > 0) {
    lines.push(`${incomplete} of the latest could only be read in part; their results have warnings`);
  }
  for (const { source, processed, total: seconds } of active) {
    lines.push(
      `  ${formatSource(source)}: ${processed.toFixed(0)}${seconds === null ? '' : ` of ${seconds.toFixed(0)}`} s`,
    );
  }
  if (failures.length > 0) lines.push('set aside:');
  for (const { id, source, reason, attempts } of failures) {
    lines.push(
      `  ${formatSource(source)} (${id.slice(0, 12)}, ${plural(attempts, 'attempt')}): ${withFlagNames(reason)}`,
    );
  }
  return lines.join('\n');
}

/** Returns the exit status. */
export async function statusCommand(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments('status', args, [...queueFlags, ...statusFlags]);
  if (positionals.length > 0) throw new UsageError('status takes no recordings.');
  const { json, watch, failures } = check(statusOptions, optionsFrom(statusOptions, statusFlags, values));
  const queue = await openQueue(queueChoice(values), signal);
  try {
    for (;;) {
      const status = await unlessAborted(statusOf(queue, failures), signal);
      console.log(json ? JSON.stringify(status) : statusText(status));
      const { waiting, delayed, active, failed } = status.counts;
      if (!watch || waiting + delayed + active === 0) return failed > 0 ? 1 : 0;
      await sleep(2000, undefined, { signal });
    }
  } finally {
    await queue.close();
  }
}

async function change(command: 'retry' | 'cancel', args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments(command, args, [...queueFlags, ...chooseFlags]);
  const { all } = check(chooseOptions, optionsFrom(chooseOptions, chooseFlags, values));
  if (all === positionals.length > 0) throw new UsageError('Name recordings, or use --all.');
  const queue = await openQueue(queueChoice(values), signal);
  try {
    const count = await unlessAborted(queue[command](all ? 'all' : positionals), signal);
    const changed = command === 'retry' ? 'will be tried again' : 'cancelled; those in progress end within seconds';
    const none = command === 'retry' ? 'None of these is set aside.' : 'None of these is waiting or in progress.';
    if (count === 0 && !all) console.error(`onehead: ${none} onehead status lists the recordings.`);
    else console.log(`${plural(count, 'recording')} ${changed}`);
    return count > 0 || all ? 0 : 1;
  } finally {
    await queue.close();
  }
}

export const retryCommand = (args: string[], signal: AbortSignal) => change('retry', args, signal);
export const cancelCommand = (args: string[], signal: AbortSignal) => change('cancel', args, signal);
