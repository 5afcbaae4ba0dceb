/** `onehead submit`: adds recordings to a queue, for workers on any machine. */
import { resolve } from 'node:path';
import { submitOptions } from '../batch/options.js';
import type { StoredOptions } from '../batch/queue.js';
import { recordingsOf } from '../batch/sources.js';
import { watchFolder } from '../batch/watch.js';
import { check } from '../options/options.js';
import { unlessAborted } from '../signals.js';
import { transcribeOptions } from '../whisper/transcription/options.js';
import { readArguments } from './arguments.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { modelChoice } from './model-choice.js';
import { plural } from './plural.js';
import { formatSource, openQueue, queueChoice, queueFlags, withTermination } from './queue.js';
import { UsageError } from './usage.js';

const submitFlags = flagsOf(submitOptions);

const transcribeFlags = flagsOf(transcribeOptions);
const flags = [...queueFlags, ...submitFlags, ...transcribeFlags];

export const submitHelp =
  () => `onehead submit SOURCE...               adds recordings to a queue, for workers on any machine

  SOURCE is a file, a folder, a pattern ('talks/**/*.mp3'), a list (@FILE, one source per line), or
  s3://BUCKET/PREFIX. A file that is already in the queue with the same options is not added again.
  The exit status is 1 if a line of a list names nothing; the other lines are added.
${flagsHelp([...queueFlags, ...submitFlags])}
  and the decoding options of transcribe
`;

/** Returns the exit status. */
export async function submitCommand(args: string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments('submit', args, flags);
  const { watch, attempts } = check(submitOptions, optionsFrom(submitOptions, submitFlags, values));
  if (positionals.length === 0 && watch === undefined) {
    throw new UsageError(
      'Give at least one recording, folder, pattern, @LIST or s3:// address, or a folder with --watch.',
    );
  }
  const options = modelChoice(values).transcribe as StoredOptions;
  const choice = queueChoice(values);
  const queue = await openQueue(choice, signal, { attempts });
  try {
    let missing = 0;
    const onMissing = ({ message }: Error) => {
      missing += 1;
      console.error(`onehead: ${message}`);
    };
    const recordings = await unlessAborted(recordingsOf(positionals, options, onMissing), signal);
    if (positionals.length > 0) {
      const { added, known, setAside } = await unlessAborted(queue.add(recordings), signal);
      const already = known > 0 ? `, ${known} were there already` : '';
      const aside = setAside > 0 ? ` (${setAside} of them are set aside; to retry them, run onehead retry --all)` : '';
      console.log(`${plural(added, 'recording')} added to ${choice.queue}${already}${aside}`);
    }
    if (watch !== undefined) {
      console.log(`watching ${resolve(watch)}`);
      const stop = withTermination(signal);
      await watchFolder(
        watch,
        options,
        async (recordings) => {
          const { added } = await unlessAborted(queue.add(recordings), stop);
          if (added === 0) return;
          if (added < recordings.length || added > 20) console.log(`added ${plural(added, 'recording')}`);
          else for (const { source } of recordings) console.log(`added ${formatSource(source)}`);
        },
        stop,
        { onTrouble: (message) => console.error(`onehead: ${message}`) },
      );
    } else if (recordings.length === 0) {
      throw new UsageError('No recordings were found.');
    }
    return missing > 0 ? 1 : 0;
  } finally {
    await queue.close();
  }
}
