/** The comments before options, by group: written by `npm run options`, and not to be edited. */
export const documentation = {
  'reading audio': {
    ffmpeg: {
      about: 'Uses an installed ffmpeg for formats that this package cannot decode; otherwise such audio is refused.',
      usual: 'true',
    },
    maxDuration: {
      about:
        'Maximum length in seconds; longer recordings are refused with code AUDIO_TOO_LONG. Decoded seconds count, not what the file claims.',
      usual: 'Infinity',
    },
    track: {
      about: 'The audio track, if a file has several: its index from 0, or its language as a code or English name.',
      usual: "the file's default track, as ffmpeg chooses it",
    },
    channels: {
      about:
        "'mix' transcribes the mean of all channels, a list the mean of the listed channels, from 0. 'separate' transcribes each channel by itself, for telephone calls with one speaker on each channel.",
      usual: "'mix'",
    },
    addStartTime: {
      about:
        'Gives times in an MP4 or Matroska file even if its audio starts later than its video; otherwise times count from the start of the audio.',
      usual: 'true',
    },
    maxBytes: {
      about: 'Maximum bytes of encoded audio; larger recordings are refused with code AUDIO_TOO_LARGE.',
      usual: 'Infinity',
    },
  },
  openAudio: {
    sampleRate: {
      about: 'Sample rate of the output in hertz.',
      usual: '16000',
    },
    signal: {
      about: 'Aborts opening and reading with its reason, and destroys a stream that is being read.',
      usual: '',
    },
  },
  'the queue': {
    redis: {
      about: 'Address of Redis, such as redis://host:6379.',
      usual: 'the environment variable ONEHEAD_REDIS',
    },
    queue: {
      about: "The queue's name; one server may have several queues.",
      usual: "'onehead'",
    },
  },
  submit: {
    watch: {
      about:
        'A folder whose new files are submitted too, once they have stopped growing, until the command is stopped.',
      usual: '',
    },
    attempts: {
      about: 'Failures after which a recording is set aside.',
      usual: '5',
    },
  },
  worker: {
    results: {
      about: 'Destination of results: a folder, or s3://bucket/prefix.',
      usual: '',
    },
    format: {
      about:
        'Formats written for each recording: text, json, verbose_json, srt, vtt, tsv, csv, lrc or ass, or several.',
      usual: "'json'",
    },
    concurrency: {
      about: 'Recordings processed at once.',
      usual: "the model's windows plus two",
    },
    lock: {
      about: 'Seconds after which a worker that stopped responding loses its recordings.',
      usual: '30',
    },
    journalInterval: {
      about: "Seconds between saved parts of a long recording's journal, from which another worker continues.",
      usual: '20',
    },
    drain: {
      about:
        'Seconds that running recordings have to finish after SIGTERM or SIGINT. Unfinished ones are returned to the queue.',
      usual: '60',
    },
    untilEmpty: {
      about: 'Exits when the queue is empty.',
      usual: 'false, or true for recordings given on the command line',
    },
    attempts: {
      about: 'Failures after which a recording is set aside.',
      usual: '5',
    },
    log: {
      about: 'Prints a line of JSON for each event.',
      usual: 'false',
    },
    quiet: {
      about: 'Disables the progress bar.',
      usual: 'false',
    },
  },
  status: {
    json: {
      about: 'Prints JSON.',
      usual: 'false',
    },
    watch: {
      about: 'Updates the output every two seconds until all is done.',
      usual: 'false',
    },
    failures: {
      about: 'Maximum number of failures shown.',
      usual: '20',
    },
  },
  'retry and cancel': {
    all: {
      about: 'Applies to all recordings.',
      usual: 'false',
    },
  },
  'the model': {
    model: {
      about: 'Folder, file or hub name of a Whisper checkpoint; docs/models.md lists the forms.',
      usual: 'the small bundled model, for trying',
    },
  },
  'the command': {
    format: {
      about: 'The output format: text, json, verbose_json, srt, vtt, tsv, csv, lrc or ass; several need `outputDir`.',
      usual: "'text'",
    },
    outputDir: {
      about: 'Writes NAME.EXTENSION files into this folder, instead of printing.',
      usual: '',
    },
    stream: {
      about:
        'Prints each segment as soon as it is decoded, for example from a microphone: arecord -t wav | onehead transcribe - --stream.',
      usual: 'false',
    },
    quiet: {
      about: 'Disables the progress bar.',
      usual: 'false',
    },
  },
  evaluate: {
    normalizer: {
      about: 'The normalization before comparing, as in openai/whisper: english, basic or none.',
      usual: "'english'",
    },
    words: {
      about:
        "Compares word times instead of texts with a reference: a file (Praat's TextGrid, CTM, JSON of gentle, pocketsphinx or of {word, start, end}), or a folder with one for each recording.",
      usual: '',
    },
    tier: {
      about: 'The tier of a TextGrid with the words.',
      usual: 'the one named words, or the only one',
    },
    format: {
      about: 'The format of the output: text or json.',
      usual: "'text'",
    },
    compare: {
      about:
        'Transcribes with several types, such as float32,bfloat16,int8, and compares error rates, word times with those of the first type, and text on silence.',
      usual: '',
    },
    live: {
      about:
        'Transcribes each recording as a live stream, on a simulated clock, and reports delays and error rates: one line for each combination of `policy`, `threshold`, `interval` and `window`. Of the decoding options only `language` is used.',
      usual: 'false',
    },
    policy: {
      about: "With `live`: when text is confirmed: 'attention', 'agreement' or 'both'; several are compared.",
      usual: "the model's default",
    },
    threshold: {
      about: 'With `live`: seconds before the end of the audio in which attention confirms nothing.',
      usual: '0.5',
    },
    interval: {
      about: 'With `live`: seconds of new audio between decodings.',
      usual: '0.5',
    },
    window: {
      about: 'With `live`: maximum seconds of audio decoded together.',
      usual: '15',
    },
  },
  formats: {
    maxLineWidth: {
      about:
        'Maximum characters of a line in srt, vtt, lrc and ass; languages without spaces are cut between characters.',
      usual: 'no limit',
    },
    maxLineCount: {
      about: 'Maximum lines shown at once; with `maxLineWidth`, cues may then span several segments.',
      usual: 'no limit',
    },
    maxWordsPerLine: {
      about: 'Maximum words of a line.',
      usual: 'no limit',
    },
    highlightWords: {
      about: 'Highlights each word while it is spoken; needs word times.',
      usual: 'false',
    },
    countWide: {
      about: 'Wide characters, such as Chinese ones, count as two towards `maxLineWidth`.',
      usual: 'false',
    },
    channelNames: {
      about:
        "The speakers' names from channel 0 on, if channels were transcribed separately; an empty name is omitted.",
      usual: "'Channel N'",
    },
  },
  listen: {
    host: {
      about: "The address to listen on; 0.0.0.0 for all of the machine's addresses.",
      usual: "'127.0.0.1'",
    },
    port: {
      about: 'The port; 0 chooses a free one.',
      usual: '8000',
    },
    tlsCertificate: {
      about: 'A certificate (PEM) for https; needs `tlsKey`.',
      usual: '',
    },
    tlsKey: {
      about: "The certificate's private key (PEM).",
      usual: '',
    },
    logLevel: {
      about:
        'The level of the log: fatal, error, warn, info, debug, trace or silent. The log consists of JSON lines, and never contains audio or text.',
      usual: "'info'",
    },
  },
  'the server': {
    models: {
      about: 'Folders and hub names of the served models; the first is the default model.',
      usual: 'the bundled model',
    },
    alias: {
      about: 'Further names that clients may use for a model.',
      usual: 'whisper-1 for the first model',
    },
    load: {
      about: 'Options of loading, for all models.',
      usual: '',
    },
    transcribe: {
      about:
        "Default options of transcribe for every request. Only the audio of short clips is encoded (`audioContext: 'fit'`) unless set otherwise.",
      usual: '',
    },
    keys: {
      about:
        'A file with one key on each line: KEY, optionally followed by name=NAME, rate=REQUESTS_A_MINUTE, concurrency=N and priority=CLASS. It is reloaded when it changes.',
      usual: 'no keys: anybody may use the server',
    },
    unloadAfter: {
      about: 'Seconds after which an unused model is unloaded; 0 for never.',
      usual: '900',
    },
    maximumLoaded: {
      about: 'Maximum number of loaded models; the least recently used one makes room.',
      usual: 'all served models',
    },
    preload: {
      about: 'Loads the first model when the server starts; otherwise at its first request.',
      usual: 'true',
    },
    maxBytes: {
      about: 'Maximum bytes of an upload; larger ones get status 413.',
      usual: '536870912',
    },
    maxDuration: {
      about: 'Maximum seconds of a recording, counted while decoding.',
      usual: '14400',
    },
    timeout: {
      about: 'Maximum seconds of a request; longer ones get status 504.',
      usual: '3600',
    },
    uploadTimeout: {
      about: 'Maximum seconds without progress of an upload; then it gets status 408.',
      usual: '30',
    },
    maximumRequests: {
      about: 'Maximum number of open requests, including waiting ones and sockets; further ones get status 503.',
      usual: '256',
    },
    maximumWait: {
      about: 'While a request has waited longer than this many seconds, new requests get status 503.',
      usual: '60',
    },
    uploadMemory: {
      about: 'Bytes of an upload held in memory; the rest is in a temporary file until the response is sent.',
      usual: '4194304',
    },
    temporaryFolder: {
      about: 'Folder of these temporary files.',
      usual: "the system's folder for temporary files",
    },
    realtimeIdle: {
      about: 'Seconds after which a realtime session without messages is closed.',
      usual: '300',
    },
    realtimeDuration: {
      about: 'Maximum seconds of a realtime session.',
      usual: '7200',
    },
    shutdownTimeout: {
      about: 'Seconds that running requests have to finish when the server is stopped.',
      usual: '30',
    },
    maximumEventLoopDelay: {
      about: 'While the event loop is late by more than this many seconds, new requests get status 503.',
      usual: '1',
    },
    protectMetrics: {
      about: 'Requires a key for /metrics.',
      usual: 'false',
    },
    page: {
      about: 'Serves a web page at `/` for dropping recordings and for speaking.',
      usual: 'true',
    },
    allowOrigin: {
      about: "Origins whose pages may call the server from a browser, such as https://example.org; '*' for all.",
      usual: "only the server's own page",
    },
    ignoreUnknownFields: {
      about: 'Ignores unknown fields; otherwise they get status 400.',
      usual: 'false',
    },
  },
  vad: {
    detector: {
      about: "The voice detector: Silero's network, included in the package, or WebRTC's of 2011.",
      usual: "'silero'",
    },
    model: {
      about: "No longer an option: Silero's model is included in the package.",
      usual: '',
    },
    mode: {
      about: "WebRTC's aggressiveness, 0 to 3: higher values classify fewer frames as speech.",
      usual: '3',
    },
    threshold: {
      about: 'Probability from which speech begins.',
      usual: '0.5',
    },
    negativeThreshold: {
      about: 'Probability below which speech ends.',
      usual: '`threshold` - 0.15, at least 0.01',
    },
    minSpeech: {
      about: 'Minimum length of speech in seconds; shorter speech counts as noise.',
      usual: '0.25',
    },
    minSilence: {
      about: 'Minimum length of silence that ends speech, in seconds.',
      usual: '2, or 0.5 if windows are decoded at once',
    },
    padding: {
      about: 'Seconds kept before and after speech.',
      usual: '0.4',
    },
  },
  decode: {
    beamSize: {
      about: 'Beams of the search at temperature 0, 1 to 16; 1 takes the likeliest token each time.',
      usual: '1',
    },
    patience: {
      about: 'Finished candidates that end a beam search, as a multiple of the beams: above 0, 2 at most.',
      usual: '1',
    },
    lengthPenalty: {
      about: 'Candidates are ranked by log-probability / ((5 + length) / 6) ^ this.',
      usual: 'log-probability / length',
    },
    bestOf: {
      about: 'Sequences drawn at temperatures above 0, of which the likeliest is taken: 1 to 16.',
      usual: '5',
    },
    temperature: {
      about:
        'One temperature, or several that are tried in turn until the text passes the three thresholds below. 0 means no chance.',
      usual: '0, 0.2, 0.4, 0.6, 0.8, 1',
    },
    seed: {
      about: 'Draws are repeated by the same seed, on every device.',
      usual: '0',
    },
    compressionRatioThreshold: {
      about:
        "Text that compresses better than this is repetitive, and the next temperature is tried; 'none' for never.",
      usual: '2.4',
    },
    logProbabilityThreshold: {
      about: "Text with a mean log-probability below this is tried again at the next temperature; 'none' for never.",
      usual: '-1',
    },
    noSpeechThreshold: {
      about:
        "Windows with a higher probability of silence than this, and a mean log-probability below `logProbabilityThreshold`, are silent; 'none' for never.",
      usual: '0.6',
    },
    repetitionPenalty: {
      about: 'Divides the logits of text tokens written before in the window; 1 for none.',
      usual: '1',
    },
    noRepeatNgramSize: {
      about: 'No sequence of this many text tokens comes twice in a window; 0 for no such rule.',
      usual: '0',
    },
    suppressTokens: {
      about:
        "Tokens never written: ids, and the classes 'default' (generation_config.json's), 'symbols' and 'numerals'.",
      usual: "'default'",
    },
    suppressBlank: {
      about: 'A window does not begin with a blank or end at once.',
      usual: 'true',
    },
    wordTimestamps: {
      about: 'Words with their times, from the attention to the audio, in the same pass.',
      usual: 'false',
    },
    topLogProbabilities: {
      about: 'Log-probabilities of that many of the likeliest tokens at each position, 64 at most.',
      usual: '0',
    },
  },
  language: {
    language: {
      about: "A language code ('en') or English name ('english'), or 'auto' to have it detected.",
      usual: "the checkpoint's own, else detected",
    },
    task: {
      about: "'translate' writes English whatever is spoken.",
      usual: "the checkpoint's own, else 'transcribe'",
    },
    maxNewTokens: {
      about: 'Upper limit of new tokens in each window.',
      usual: 'what the model has room for',
    },
  },
  generate: {
    timestamps: {
      about: "'segment': timestamp tokens are written.",
      usual: "'none'",
    },
    previous: {
      about: 'Text before the windows, as token ids.',
      usual: '',
    },
    prefix: {
      about: 'Tokens that the text begins with.',
      usual: '',
    },
    minNewTokens: {
      about:
        'The end token is suppressed until this many tokens are written; the same as `maxNewTokens` forces a length.',
      usual: '0',
    },
    signal: {
      about: 'Ends the decoding with its reason.',
      usual: '',
    },
  },
  'live policy': {
    policy: {
      about:
        "When a word is confirmed. 'attention': when the alignment heads attend to audio at least `threshold` before the end. 'agreement': when two successive hypotheses have it. 'both': when both conditions hold.",
      usual: 'the best measured for this kind of checkpoint',
    },
    threshold: {
      about:
        "Seconds before the end of the audio in which 'attention' confirms no word: smaller values confirm earlier, larger ones more reliably.",
      usual: '0.5',
    },
    interval: {
      about: 'Seconds of new audio between decodings. A slower device decodes less often.',
      usual: '0.5',
    },
    window: {
      about:
        "Maximum seconds of audio decoded together, limited by the model's window; earlier audio is represented by its text.",
      usual: '15',
    },
  },
  live: {
    sampleRate: {
      about: 'Sample rate of the pushed samples in hertz.',
      usual: "the model's own, 16000",
    },
    prompt: {
      about: 'Text (or token ids) before each turn, which guides names and style.',
      usual: '',
    },
    vad: {
      about:
        'Options of turn detection; the defaults here are 0.5 s for `minSilence`, 0.1 s for `minSpeech` and 0.3 s for `padding`. False: everything until `flush` is one turn.',
      usual: 'true',
    },
    partials: {
      about: 'Emits hypotheses after the confirmed text.',
      usual: 'true',
    },
    tokenLogProbabilities: {
      about: 'Adds token ids and log-probabilities to `confirmed` and `final`, as `tokens` and `logprobs`.',
      usual: 'false',
    },
    maximumLag: {
      about: 'Maximum seconds of undecoded audio; older audio is dropped, with an event.',
      usual: '120',
    },
    signal: {
      about: 'Ends the stream with its reason.',
      usual: '',
    },
  },
  load: {
    device: {
      about:
        "'cpu', 'cuda' (the first GPU), 'cuda:N', 'cuda:all', or 'auto': a usable GPU, else the CPU. A list, such as ['cuda:0', 'cuda:1'] or ['cpu', 'cpu'], loads the model on each; every window goes to the least busy device.",
      usual: "'auto'",
    },
    dtype: {
      about:
        "The dtype of weights, caches and operands of matrix products. 'auto' is float16 on a GPU. On a CPU it is float32 or bfloat16, whichever a short measurement found faster, for encoder and decoder separately. With 'int8', layers that would lose too much precision stay in 16 bits.",
      usual: "'auto'",
    },
    precision: {
      about:
        "Dtypes of single parts, such as { weights: 'int8', activations: 'bfloat16', cache: 'bfloat16' } or { encoder: 'float32', decoder: 'int8' }. Other parts have `dtype`. Nothing is measured then.",
      usual: '',
    },
    threads: {
      about: 'CPU threads of each device.',
      usual: 'the cores available to the process, divided among the CPU devices',
    },
    windows: {
      about:
        'Windows whose cross-attention caches a device holds at once. It limits how many are decoded together, and determines the memory. If it is given and above 1, long recordings are cut at silences unless `batched` is false.',
      usual: '8 on a CPU, as many as fit the free memory on a GPU',
    },
    batch: {
      about: 'Another name for `windows`.',
      usual: '',
    },
    rows: {
      about:
        'Sequences that a device decodes at once: one for each window, or one for each beam of a beam search. At least `windows`.',
      usual: '16 on a CPU, twice `windows` on a GPU',
    },
    maximumRequests: {
      about: 'Transcriptions that may be open at once, waiting ones included; further ones are refused with code BUSY.',
      usual: '1024',
    },
    wordTimes: {
      about:
        "The method of word times. 'speech' uses the attention of all heads of the later half of the layers and the loudness, and leaves pauses between words. 'attention' is openai/whisper's method with the checkpoint's alignment heads.",
      usual: "'speech'",
    },
    alignmentHeads: {
      about: '[layer, head] of the cross-attention heads from which word times are computed.',
      usual:
        "all heads of the later half of the layers; with `wordTimes` 'attention' those in generation_config.json, if it names any",
    },
    onDownload: {
      about: 'Called with the progress while a hub model is downloaded.',
      usual: '',
    },
    signal: {
      about: "Aborts loading; the promise rejects with the signal's reason.",
      usual: '',
    },
  },
  'language detection': {
    languageDetectionThreshold: {
      about: 'A language of this probability is sure.',
      usual: '0.5',
    },
  },
  'every call': {
    priority: {
      about:
        "'live' goes before 'interactive', which goes before 'batch'. Waiting raises a call to the class above it.",
      usual: "'interactive'",
    },
    deadline: {
      about:
        'Milliseconds from the call: among equals an earlier deadline goes first, and what still waits when it has passed is rejected with TIMED_OUT.',
      usual: 'no deadline',
    },
    signal: {
      about: 'Ends the work with its reason, within one decode step.',
      usual: '',
    },
    timeout: {
      about: 'Milliseconds (seconds on the command line), after which the call is rejected with code TIMED_OUT.',
      usual: 'no limit',
    },
  },
  'audio context': {
    audioContext: {
      about:
        "'fit': a window with less than 30 s of sound is encoded as far as its sound goes and `audioContextMargin` further, which takes a fraction of the time and of the memory; where the text does not pass the thresholds, the whole window is encoded and decoded. 'full': whole windows always.",
      usual: "'full'",
    },
    audioContextMargin: {
      about: 'Seconds of silence that are encoded behind the sound of a shorter window.',
      usual: '4',
    },
  },
  transcribe: {
    languageDetectionWindows: {
      about: 'Windows at the beginning that the language is detected from, fewer where one is sure.',
      usual: '1',
    },
    languages: {
      about: 'Codes or English names of the languages that come into question where it is detected.',
      usual: 'all that the model knows',
    },
    followLanguage: {
      about:
        "If the language is detected and not given: text that is clearly in another language than the recording's beginning is decoded in its own, which its segments name.",
      usual: 'true',
    },
    recoverSpeech: {
      about:
        'Speech of over a second that the voice detector hears and no segment covers is decoded again from where it begins, once; `warnings` say where it gives no text. Not with `hallucinationSilenceThreshold`, which skips such places.',
      usual: 'true',
    },
    windowBegin: {
      about:
        "Where a window begins that follows another. 'pause': in the pause before the word that the last timestamp lies in, if there is one, since timestamps are often late. 'timestamp': always at the timestamp, as in openai/whisper.",
      usual: "'pause'",
    },
    languagePerSegment: {
      about: "Each window's language is detected, and told with its segments.",
      usual: 'false',
    },
    timestamps: {
      about: "'segment': text is cut at the timestamps that the model writes.",
      usual: "'segment', or 'none' for a model without timestamps",
    },
    prompt: {
      about:
        'Text (or token ids) that stands before the first window: names and a style to go by. Its last tokens count.',
      usual: '',
    },
    carryPrompt: {
      about: 'The prompt stands before every window, not before the first alone.',
      usual: 'false',
    },
    prefix: {
      about: 'Text (or token ids) that the first window begins with.',
      usual: '',
    },
    hotwords: {
      about: 'Words to expect, put before every window.',
      usual: '',
    },
    allowSpecialTokens: {
      about:
        'Special tokens such as <|endoftext|> count as such in `prompt`, `prefix` and `hotwords`; otherwise they are plain characters.',
      usual: 'false',
    },
    conditionOnPreviousText: {
      about: 'Each window is told the text before it, which keeps names alike and lets errors spread.',
      usual: 'false',
    },
    promptResetTemperature: {
      about: 'Text found at a higher temperature than this is not told to the next window.',
      usual: '0.5',
    },
    prependPunctuations: {
      about: 'Marks that are joined to the word after them.',
      usual: "openai/whisper's",
    },
    appendPunctuations: {
      about: 'Marks that are joined to the word before them.',
      usual: "openai/whisper's",
    },
    noSpeechRule: {
      about:
        "The rule by which a window has no speech, so that its text is left out (the result's `omitted` lists it). 'voice': if the voice detector hears nobody, the model must be nearly certain that somebody speaks, and is asked once; otherwise openai/whisper's rule applies. 'openai': its rule alone, by `noSpeechThreshold`.",
      usual: "'voice'",
    },
    dropInventions: {
      about:
        'Segments such as "Thank you." and "Thanks for watching!", which Whisper invents, are left out where the voice detector hears nobody. Needs `noSpeechRule` \'voice\'.',
      usual: 'true',
    },
    hallucinationSilenceThreshold: {
      about:
        'Seconds: with `wordTimestamps`, silence longer than this is skipped where the text beside it looks invented.',
      usual: 'no such rule',
    },
    clips: {
      about:
        "Only these parts are heard, in seconds of the recording and in its order; the last may lack its end. Times stay the recording's, each part begins a window, and what is behind the last is not read.",
      usual: '',
    },
    vad: {
      about: 'Silence is found and left out before anything is decoded: true, or how.',
      usual: 'false, or true where windows are decoded at once',
    },
    batched: {
      about:
        'True: windows are cut at silences and as many decoded at once as the model was loaded for. False: one after the other, each seeking on the timestamps of the one before.',
      usual: 'true where the model was loaded with `windows` above 1',
    },
    journal: {
      about:
        'Keeps what windows gave, by their names, and is asked for it first: a transcription that was broken off goes on where it was, when it is begun again with the same audio, model and options.',
      usual: '',
    },
    lookAhead: {
      about:
        'Seconds that are read ahead of the first window, to know the loudest sound, which features are measured against; 0 begins as soon as a window is there.',
      usual: '600, or 0 for `stream`',
    },
    tokenLogProbabilities: {
      about: 'Segments have the log-probability of each of their `tokens`, as `logprobs`.',
      usual: 'false',
    },
    onProgress: {
      about: 'Called after each window.',
      usual: '',
    },
    onWarning: {
      about:
        "Called with each of the result's `warnings` as it is found; `incomplete` is true as soon as a part of the recording was lost.",
      usual: '',
    },
    onText: {
      about:
        "Called with each piece of the text as soon as it is sure to stay: all pieces join to the result's `text`. A window that is searched again, since its text fails the thresholds, goes on behind what was given out of it. With beams, or above temperature 0, a window's text comes as a whole.",
      usual: '',
    },
    onPartial: {
      about: 'Called with the text of the windows under way, as it grows.',
      usual: '',
    },
    partialInterval: {
      about:
        'Seconds: a window that is still being heard is decoded provisionally for `onPartial` whenever that much was added.',
      usual: '',
    },
  },
  detectLanguage: {
    languageDetectionWindows: {
      about: 'Windows at the beginning that the language is detected from, fewer where one is sure.',
      usual: '5',
    },
  },
};
