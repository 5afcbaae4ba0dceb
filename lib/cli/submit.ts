/** `onehead submit`: adds recordings to a queue, for workers on any machine. */
import { resolve } from 'node:path';
import { submitOptions } from '../batch/options.js';
import type { StoredOptions } from '../batch/queue.js';
import { recordingsOf } from '../batch/sources.js';
import { watchFolder } from '../batch/watch.js';
import { check } from '../options/options.js';
import { transcribeOptions } from '../whisper/transcription/options.js';
import { readArguments } from './arguments.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { modelChoice } from './model-choice.js';
import { endedBy, openQueue, plural, queueChoice, queueFlags, sourceShown, unlessEnded } from './queue.js';
import { UsageError } from './usage.js';

const ownFlags = flagsOf(submitOptions);
// A recording in a queue has no waiting caller.
const transcribeFlags = flagsOf(transcribeOptions);
const flags = [...queueFlags, ...ownFlags, ...transcribeFlags];

export const submitHelp =
  () => `onehead submit SOURCE...               adds recordings to a queue, for workers on any machine

  SOURCE is a file, a folder, a pattern ('talks/**/*.mp3'), a list (@FILE, one source per line), or
  s3://BUCKET/PREFIX. A file that is already in the queue with the same options is not added again. The exit status is 1
  if a line of a list names nothing; the other lines are added.
${flagsHelp([...queueFlags, ...ownFlags])}
  and transcribe's options of decoding
`;

/** Returns the exit status. */
export async function submitCommand(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments('submit', args, flags);
  const { watch, attempts } = check(submitOptions, optionsFrom(submitOptions, ownFlags, values));
  if (positionals.length === 0 && watch === undefined) {
    throw new UsageError(
      'Give at least one recording, folder, pattern, @LIST or s3:// address, or a folder with --watch.',
    );
  }
  const options = modelChoice(values).transcribe as StoredOptions;
  const choice = queueChoice(values);
  const queue = await unlessEnded(openQueue(choice, { attempts }), signal);
  try {
    let missing = 0;
    const missed = ({ message }: Error) => {
      missing += 1;
      console.error(`onehead: ${message}`);
    };
    const recordings = await unlessEnded(recordingsOf(positionals, options, missed), signal);
    if (positionals.length > 0) {
      const { added, known, setAside } = await unlessEnded(queue.add(recordings), signal);
      const there = known > 0 ? `, ${known} were there already` : '';
      const aside = setAside > 0 ? ` (${setAside} of them set aside: onehead retry --all tries them again)` : '';
      console.log(`${plural(added, 'recording')} added to ${choice.queue}${there}${aside}`);
    }
    if (watch !== undefined) {
      console.log(`watching ${resolve(watch)}`);
      const ended = endedBy(signal);
      await watchFolder(
        watch,
        options,
        async (recordings) => {
          const { added } = await unlessEnded(queue.add(recordings), ended);
          if (added === 0) return;
          if (added < recordings.length || added > 20) console.log(`added ${plural(added, 'recording')}`);
          else for (const { source } of recordings) console.log(`added ${sourceShown(source)}`);
        },
        ended,
        { onTrouble: (message) => console.error(`onehead: ${message}`) },
      );
    } else if (recordings.length === 0) {
      throw new UsageError('There are no recordings there.');
    }
    return missing > 0 ? 1 : 0;
  } finally {
    await queue.close();
  }
}
