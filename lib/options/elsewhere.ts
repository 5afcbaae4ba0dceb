/**
 * Equivalents of other programs' options that have no counterpart of the same meaning here. Backticks mark our names.
 */

/** An option's names in other programs; several are separated by commas. */
export interface OtherNames {
  /** openai/whisper, in Python; its command line has the same names. */
  openai?: string;
  /** faster-whisper, in Python. */
  faster?: string;
  /** whisper.cpp's command line. */
  cpp?: string;
}

export interface Elsewhere {
  others: OtherNames;
  answer: string;
}

export const elsewhere: readonly Elsewhere[] = [
  {
    others: { cpp: '-ot, --offset-t, -on, --offset-n, -d, --duration' },
    answer: 'set `clips` to the seconds to transcribe',
  },
  { others: { openai: 'fp16', faster: 'compute_type' }, answer: 'set `dtype` when the model is loaded' },
  {
    others: { openai: 'without_timestamps', faster: 'without_timestamps', cpp: '-nt, --no-timestamps' },
    answer: "set `timestamps` to 'none'",
  },
  {
    others: { openai: 'temperature_increment_on_fallback', cpp: '-tpi, --temperature-inc' },
    answer: 'give `temperature` a list, which is tried in turn',
  },
  { others: { cpp: '-nf, --no-fallback' }, answer: 'set `temperature` to 0 alone' },
  {
    others: { openai: 'max_initial_timestamp', faster: 'max_initial_timestamp' },
    answer: 'max_initial_timestamp_index of generation_config.json is used',
  },
  {
    others: { openai: 'verbose', faster: 'log_progress', cpp: '-pp, --print-progress' },
    answer: 'set `onProgress` to a function; the command shows a progress bar',
  },
  {
    others: { cpp: '-np, --no-prints' },
    answer: 'the command prints only the text and warnings; --quiet also disables its progress bar',
  },
  {
    others: { openai: 'model_dir, download_root', faster: 'download_root' },
    answer: "downloads are kept in the hub's standard cache; the environment variable HF_HOME moves it",
  },
  {
    others: { faster: 'local_files_only' },
    answer: 'cached files are not downloaded again; the environment variable HF_HUB_OFFLINE=1 forbids downloads',
  },
  { others: { openai: 'in_memory' }, answer: 'weights are always in memory once the model is loaded' },
  { others: { faster: 'device_index' }, answer: "set `device` to 'cuda:N'" },
  { others: { cpp: '-ng, --no-gpu' }, answer: "set `device` to 'cpu'" },
  {
    others: { cpp: '-fa, --flash-attn, -nfa, --no-flash-attn' },
    answer: 'attention is always computed without the score matrix in memory',
  },
  {
    others: { faster: 'num_workers', cpp: '-p, --processors' },
    answer: 'set `batch`, the number of windows decoded at once',
  },
  {
    others: { faster: 'chunk_length', cpp: '-ac, --audio-ctx' },
    answer: 'the model determines the length of a window',
  },
  {
    others: { faster: 'max_speech_duration_s', cpp: '-vmsd, --vad-max-speech-duration-s, -vo, --vad-samples-overlap' },
    answer: 'long speech is cut at its quietest positions, without overlap',
  },
  { others: { cpp: '-mc, --max-context' }, answer: 'set `conditionOnPreviousText`, or leave it out for no context' },
  { others: { cpp: '-tr, --translate' }, answer: "set `task` to 'translate'" },
  { others: { cpp: '-dl, --detect-language' }, answer: 'call `detectLanguage`' },
  { others: { cpp: '-wt, --word-thold' }, answer: 'set `wordTimestamps`; each word has its probability' },
  { others: { cpp: '-dtw, --dtw' }, answer: 'set `wordTimestamps`, and `alignmentHeads` when the model is loaded' },
  {
    others: { cpp: '-ls, --log-score, --print-confidence, -ojf, --output-json-full' },
    answer: 'set `topLogProbabilities`; segments and words always have their probabilities',
  },
  { others: { cpp: '-sow, --split-on-word' }, answer: 'lines are always cut between words' },
  { others: { cpp: '-otxt, --output-txt' }, answer: "the format is 'text' (--format text)" },
  { others: { cpp: '-ovtt, --output-vtt' }, answer: "the format is 'vtt' (--format vtt)" },
  { others: { cpp: '-osrt, --output-srt' }, answer: "the format is 'srt' (--format srt)" },
  { others: { cpp: '-olrc, --output-lrc' }, answer: "the format is 'lrc' (--format lrc)" },
  { others: { cpp: '-ocsv, --output-csv' }, answer: "the format is 'csv' (--format csv)" },
  { others: { cpp: '-oj, --output-json' }, answer: "the format is 'json' (--format json)" },
  {
    others: { cpp: '-of, --output-file' },
    answer: 'output files are named after the recordings, in the folder that --output-dir names',
  },
  { others: { cpp: '-f, --file' }, answer: 'the audio is given without a flag' },
  { others: { cpp: '-ps, --print-special' }, answer: 'each segment has its `tokens`, including special ones' },
  {
    others: { cpp: '--grammar, --grammar-rule, --grammar-penalty, --suppress-regex' },
    answer: 'grammars are not supported; `suppressTokens` excludes tokens and `hotwords` suggests words',
  },
  { others: { cpp: '-sns, --suppress-nst' }, answer: "set `suppressTokens` to 'symbols'" },
  { others: { cpp: '-tdrz, --tinydiarize' }, answer: 'speakers within a channel are not distinguished' },
];
