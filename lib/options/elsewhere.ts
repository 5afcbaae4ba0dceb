/** Advice for options of other programs without an equivalent option. Backticks mark onehead's option names. */

/** The names of an option in other programs, separated by commas. */
export interface OtherNames {
  /** openai/whisper, in Python; its command line has the same names. */
  openai?: string;
  /** faster-whisper, in Python. */
  faster?: string;
  /** whisper.cpp's command line. */
  cpp?: string;
}

export interface ForeignOption {
  others: OtherNames;
  /** Completes the sentence "There is no option X: ...". */
  advice: string;
}

export const elsewhere: readonly ForeignOption[] = [
  {
    others: { cpp: '-ot, --offset-t, -on, --offset-n, -d, --duration' },
    advice: 'set `clips` to the seconds to transcribe',
  },
  { others: { openai: 'fp16', faster: 'compute_type' }, advice: 'set `dtype` when the model is loaded' },
  {
    others: { openai: 'without_timestamps', faster: 'without_timestamps', cpp: '-nt, --no-timestamps' },
    advice: "set `timestamps` to 'none'",
  },
  {
    others: { openai: 'temperature_increment_on_fallback', cpp: '-tpi, --temperature-inc' },
    advice: 'set `temperature` to a list, whose values are tried in turn',
  },
  { others: { cpp: '-nf, --no-fallback' }, advice: 'set `temperature` to 0' },
  {
    others: { openai: 'max_initial_timestamp', faster: 'max_initial_timestamp' },
    advice: 'max_initial_timestamp_index of generation_config.json is used',
  },
  {
    others: { openai: 'verbose', faster: 'log_progress', cpp: '-pp, --print-progress' },
    advice: 'set `onProgress` to a function; the command shows a progress bar',
  },
  {
    others: { cpp: '-np, --no-prints' },
    advice: 'the command prints only the text and warnings; --quiet also disables its progress bar',
  },
  {
    others: { openai: 'model_dir, download_root', faster: 'download_root' },
    advice: "downloads are kept in the hub's standard cache; the environment variable HF_HOME moves it",
  },
  {
    others: { faster: 'local_files_only' },
    advice: 'cached files are not downloaded again; the environment variable HF_HUB_OFFLINE=1 forbids downloads',
  },
  { others: { openai: 'in_memory' }, advice: 'weights are always in memory once the model is loaded' },
  { others: { faster: 'device_index' }, advice: "set `device` to 'cuda:N'" },
  { others: { cpp: '-ng, --no-gpu' }, advice: "set `device` to 'cpu'" },
  {
    others: { cpp: '-fa, --flash-attn, -nfa, --no-flash-attn' },
    advice: 'attention never stores the score matrix',
  },
  {
    others: { faster: 'num_workers', cpp: '-p, --processors' },
    advice: 'set `batch`, the number of windows decoded at once',
  },
  {
    others: { faster: 'chunk_length', cpp: '-ac, --audio-ctx' },
    advice: 'the model determines the length of a window',
  },
  {
    others: { faster: 'max_speech_duration_s', cpp: '-vmsd, --vad-max-speech-duration-s, -vo, --vad-samples-overlap' },
    advice: 'long speech is cut at its quietest positions, without overlap',
  },
  { others: { cpp: '-mc, --max-context' }, advice: 'set `conditionOnPreviousText`, or leave it out for no context' },
  { others: { cpp: '-tr, --translate' }, advice: "set `task` to 'translate'" },
  { others: { cpp: '-dl, --detect-language' }, advice: 'call `detectLanguage`' },
  { others: { cpp: '-wt, --word-thold' }, advice: 'set `wordTimestamps`; each word has its probability' },
  { others: { cpp: '-dtw, --dtw' }, advice: 'set `wordTimestamps`, and `alignmentHeads` when the model is loaded' },
  {
    others: { cpp: '-ls, --log-score, --print-confidence, -ojf, --output-json-full' },
    advice: 'set `topLogProbabilities`; segments and words always have their probabilities',
  },
  { others: { cpp: '-sow, --split-on-word' }, advice: 'lines are always cut between words' },
  { others: { cpp: '-otxt, --output-txt' }, advice: "use the format 'text' (--format text)" },
  { others: { cpp: '-ovtt, --output-vtt' }, advice: "use the format 'vtt' (--format vtt)" },
  { others: { cpp: '-osrt, --output-srt' }, advice: "use the format 'srt' (--format srt)" },
  { others: { cpp: '-olrc, --output-lrc' }, advice: "use the format 'lrc' (--format lrc)" },
  { others: { cpp: '-ocsv, --output-csv' }, advice: "use the format 'csv' (--format csv)" },
  { others: { cpp: '-oj, --output-json' }, advice: "use the format 'json' (--format json)" },
  {
    others: { cpp: '-of, --output-file' },
    advice: 'output files are named after the recordings, in the folder that --output-dir names',
  },
  { others: { cpp: '-f, --file' }, advice: 'the audio is given without a flag' },
  { others: { cpp: '-ps, --print-special' }, advice: 'each segment has its `tokens`, including special ones' },
  {
    others: { cpp: '--grammar, --grammar-rule, --grammar-penalty, --suppress-regex' },
    advice: 'grammars are not supported; `suppressTokens` excludes tokens and `hotwords` suggests words',
  },
  { others: { cpp: '-sns, --suppress-nst' }, advice: "set `suppressTokens` to 'symbols'" },
  { others: { cpp: '-tdrz, --tinydiarize' }, advice: 'speakers within a channel are not distinguished' },
];
