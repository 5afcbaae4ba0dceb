/** docs/options.md: every option, with its default, its flag, and its names in other programs. */
import { commandOptions } from '../../lib/cli/command-options.js';
import { type Flag, flagsOf } from '../../lib/cli/flags.js';
import { formatOptions } from '../../lib/formats/options.js';
import { describe } from '../../lib/options/describe.js';
import type { OtherNames } from '../../lib/options/elsewhere.js';
import { elsewhere } from '../../lib/options/elsewhere.js';
import type { OptionGroup } from '../../lib/options/options.js';
import { listenOptions } from '../../lib/server/listen-options.js';
import { serverOptions } from '../../lib/server/service/options.js';
import { vadOptions } from '../../lib/vad/options.js';
import { generateOptions } from '../../lib/whisper/decoding/options.js';
import { loadOptions } from '../../lib/whisper/model/types.js';
import { detectLanguageOptions, transcribeOptions } from '../../lib/whisper/transcription/options.js';

const head = `# Options

Written by \`npm run options\` from the declarations that types, checks and flags are made of; not to be edited.

An option that is left out, undefined or null has its default. One that does not exist, or has a value of a wrong type, is refused with a sentence
before anything is done, in the API (\`OneheadError\` with code INVALID_ARGUMENT) as on the command line (exit status 2). The three last columns are
for those who come from other programs; using one of these names is answered with ours.
`;

const cell = (text: string): string => text.replaceAll('|', '\\|');
const code = (names: string | undefined): string =>
  (names ?? '')
    .split(/,\s*/)
    .filter(Boolean)
    .map((name) => `\`${name}\``)
    .join(' ');

const others = ({ openai, faster, cpp }: OtherNames): string[] => [code(openai), code(faster), code(cpp)];

function table(heads: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map(cell).join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}

/** The options of a group but those that were shown. */
function groupTable(group: OptionGroup, flags: readonly Flag[], hidden: ReadonlySet<string> = new Set()): string {
  const rows = Object.entries(group.entries)
    .filter(([name]) => !hidden.has(name))
    .map(([name, entry]) => {
      const { about, usual } = describe(name, entry);
      const flag = flags.find((one) => one.entry === entry);
      const shown = flag
        ? code(`--${flag.name}${flag.placeholder === '' ? '' : ` ${flag.placeholder}`}`.replaceAll(',', '‚'))
        : '';
      return [code(name), about, usual, shown.replaceAll('‚', ','), ...others(entry.facts.others ?? {})];
    });
  return table(
    ['option', 'what it does', 'default', 'command line', 'openai/whisper', 'faster-whisper', 'whisper.cpp'],
    rows,
  );
}

export function optionsPage(): string {
  const flags = [loadOptions, transcribeOptions, formatOptions, commandOptions].flatMap((group) => flagsOf(group));
  const serverFlags = [serverOptions, listenOptions].flatMap((group) => flagsOf(group));
  const known = new Set(Object.keys(transcribeOptions.entries));
  const generateOnly = new Set(
    Object.keys(generateOptions.entries).filter(
      (name) => name !== 'timestamps' && name !== 'prefix' && known.has(name),
    ),
  );
  const sections: [string, string][] = [
    ['`Whisper.load(name, options)`, `WhisperModel.load(name, options)`', groupTable(loadOptions, flags)],
    ['`transcribe(audio, options)`, `stream(audio, options)`', groupTable(transcribeOptions, flags)],
    ['`vad`, an option of `transcribe`: true, or these', groupTable(vadOptions, flags)],
    ['`detectLanguage(audio, options)`', groupTable(detectLanguageOptions, [])],
    [
      '`WhisperModel.decode(encoded, options)`, `WhisperModel.generate(encoded, options)`',
      `Of transcribe’s options ${[...generateOnly].map((name) => code(name)).join(', ')}; and, with \`temperature\` 0 unless given:\n\n${groupTable(generateOptions, [], generateOnly)}`,
    ],
    ['`formats[name].write(transcription, options)`', groupTable(formatOptions, flags)],
    ['The command `onehead transcribe` alone', groupTable(commandOptions, flags)],
    [
      'The server',
      `Options of \`onehead serve\`, and of the plugin \`onehead\` of \`onehead/server\` ([server.md](server.md)):\n\n${groupTable(serverOptions, serverFlags)}\n\nWhere the server of its own listens:\n\n${groupTable(listenOptions, serverFlags)}`,
    ],
    [
      'Options of other programs that have no counterpart of the same meaning',
      table(
        ['openai/whisper', 'faster-whisper', 'whisper.cpp', 'here'],
        elsewhere.map((one) => [...others(one.others), one.answer]),
      ),
    ],
  ];
  return `${head}\n${sections.map(([title, body]) => `## ${title}\n\n${body}\n`).join('\n')}`;
}
