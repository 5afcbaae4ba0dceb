import { describe, expect, it } from 'vitest';
import { parseConfig, parseGenerationConfig, parsePreprocessorConfig } from '../../lib/whisper/checkpoint/config.js';
import { languageAndTask } from '../../lib/whisper/decoding/prompt.js';

/** openai/whisper-tiny's configuration, as far as onehead reads it. */
const tiny = {
  model_type: 'whisper',
  d_model: 384,
  encoder_layers: 4,
  decoder_layers: 4,
  encoder_attention_heads: 6,
  decoder_attention_heads: 6,
  encoder_ffn_dim: 1536,
  decoder_ffn_dim: 1536,
  vocab_size: 51865,
  activation_function: 'gelu',
  begin_suppress_tokens: [220, 50257],
  decoder_start_token_id: 50258,
  eos_token_id: 50257,
  forced_decoder_ids: [
    [1, 50259],
    [2, 50359],
    [3, 50363],
  ],
};

describe('alignment heads', () => {
  const config = parseConfig(tiny, 'config.json');
  const of = (json: object) => parseGenerationConfig(json, 'generation_config.json', config, new Map()).alignmentHeads;

  it('are those of the checkpoint, otherwise all of the upper half of the layers', () => {
    const named = [
      [0, 2],
      [3, 5],
    ];
    expect(of({ alignment_heads: named })).toEqual(named);
    const usual = of({});
    expect(usual).toHaveLength(12);
    expect(usual[0]).toEqual([2, 0]);
    expect(usual.at(-1)).toEqual([3, 5]);
  });

  it.each([[[4, 0]], [[0, 6]], [[0, null]]])(
    '%j, which the decoder does not have, are the usual ones, with a warning',
    (alien) => {
      const json = { alignment_heads: [[0, 2], alien] };
      const generation = parseGenerationConfig(json, 'generation_config.json', config, new Map());
      expect(generation.alignmentHeads).toEqual(of({}));
      expect(generation.alignmentWarning).toContain('alignment heads that it does not have');
      expect(parseGenerationConfig({}, 'g.json', config, new Map()).alignmentWarning).toBeNull();
    },
  );

  it.each([[[[0]]], [[[-1, 0]]], ['all']])('%j are refused', (alignment_heads) => {
    expect(() => of({ alignment_heads })).toThrow('expected alignment_heads');
  });

  it('are smoothed over an odd number of positions', () => {
    expect(config.medianFilterWidth).toBe(7);
    expect(() => parseConfig({ ...tiny, median_filter_width: 4 }, 'config.json')).toThrow(
      'expected median_filter_width to be an odd number but found 4',
    );
  });
});

describe('config.json', () => {
  it('of whisper-tiny', () => {
    expect(parseConfig(tiny, 'config.json')).toMatchObject({
      width: 384,
      encoder: { layers: 4, heads: 6, feedForward: 1536, keyValueHeads: 6 },
      decoder: { keyValueHeads: 6, crossKeyValueHeads: 6 },
      mels: 80,
      sourcePositions: 1500,
      targetPositions: 448,
      tiedEmbeddings: true,
      beginSuppressTokens: [220, 50257],
    });
  });

  it('with a decoder that differs from the encoder, and shared heads', () => {
    const config = parseConfig(
      { ...tiny, decoder_layers: 2, decoder_attention_heads: 12, cross_key_value_heads: 1, decoder_key_value_heads: 4 },
      'config.json',
    );
    expect(config.decoder).toEqual({
      layers: 2,
      heads: 12,
      feedForward: 1536,
      keyValueHeads: 4,
      crossKeyValueHeads: 1,
    });
  });

  it.each([
    [{ d_model: 0 }, 'config.json: expected d_model to be a whole number from 1 to 65536 but found 0.'],
    [{ d_model: '384' }, 'expected d_model to be a whole number'],
    [{ d_model: undefined }, 'expected d_model to be a whole number from 1 to 65536 but found nothing.'],
    [{ encoder_layers: 1e9 }, 'expected encoder_layers'],
    [{ encoder_layers: 1.5 }, 'expected encoder_layers'],
    [{ encoder_attention_heads: 7 }, 'expected encoder_attention_heads to be a divisor of d_model (384) but found 7'],
    [{ cross_key_value_heads: 4 }, 'expected cross_key_value_heads to be a divisor of the 6 heads but found 4'],
    [{ activation_function: 'relu' }, "expected activation_function to be 'gelu'"],
    [{ model_type: 'bert' }, 'expected model_type to be \'whisper\' but found "bert"'],
    [{ eos_token_id: 51865 }, 'expected eos_token_id to be token ids from 0 to 51864'],
    [{ suppress_tokens: [1, -1] }, 'expected suppress_tokens'],
    [{ forced_decoder_ids: [[0]] }, 'expected forced_decoder_ids'],
    [{ max_target_positions: 4 }, 'expected max_target_positions to be at least 8 but found 4'],
    [{ tie_word_embeddings: 'yes' }, 'expected tie_word_embeddings to be true or false'],
  ])('refuses %o', (change, message) => {
    expect(() => parseConfig({ ...tiny, ...change }, 'config.json')).toThrow(message);
  });

  it.each([[null], [[]], ['text'], [3]])('refuses %o instead of an object', (json) => {
    expect(() => parseConfig(json, 'config.json')).toThrow('expected a JSON object');
  });
});

describe('generation_config.json', () => {
  const config = parseConfig(tiny, 'config.json');

  it('is parsed', () => {
    const generation = parseGenerationConfig(
      {
        no_timestamps_token_id: 50363,
        lang_to_id: { '<|en|>': 50259, '<|de|>': 50261 },
        task_to_id: { transcribe: 50359, translate: 50358 },
        is_multilingual: true,
        suppress_tokens: [1, 2],
        eos_token_id: [50257],
        max_initial_timestamp_index: 50,
        max_length: 9999,
        prev_sot_token_id: 50361,
      },
      'generation_config.json',
      config,
      new Map(),
    );
    expect(generation).toMatchObject({
      endToken: 50257,
      timestampBegin: 50364,
      noSpeechToken: 50362,
      previousToken: 50361,
      suppressTokens: [1, 2],
      beginSuppressTokens: [220, 50257],
      maxInitialTimestamp: 50,
      maxLength: 448,
    });
    expect(Object.fromEntries(generation.languages)).toEqual({ en: 50259, de: 50261 });
  });

  it('is derived from the special tokens if it is absent', () => {
    const special = new Map([
      ['<|endoftext|>', 50257],
      ['<|startoftranscript|>', 50258],
      ['<|en|>', 50259],
      ['<|yue|>', 50300],
      ['<|translate|>', 50358],
      ['<|transcribe|>', 50359],
      ['<|startofprev|>', 50361],
      ['<|nocaptions|>', 50362],
      ['<|notimestamps|>', 50363],
    ]);
    const generation = parseGenerationConfig(null, 'generation_config.json', config, special);
    expect(generation).toMatchObject({ noTimestampsToken: 50363, noSpeechToken: 50362, multilingual: true });
    expect([...generation.languages.keys()]).toEqual(['en', 'yue']);
    expect([...generation.tasks.keys()].sort()).toEqual(['transcribe', 'translate']);
  });

  it('is English only if the vocabulary is that of OpenAI’s English-only models, which lists all languages', () => {
    const english = parseConfig(
      { ...tiny, vocab_size: 51864, decoder_start_token_id: 50257, eos_token_id: 50256, forced_decoder_ids: null },
      'config.json',
    );
    const special = new Map([
      ['<|endoftext|>', 50256],
      ['<|startoftranscript|>', 50257],
      ['<|en|>', 50258],
      ['<|translate|>', 50357],
      ['<|transcribe|>', 50358],
      ['<|notimestamps|>', 50362],
    ]);
    expect(parseGenerationConfig(null, 'generation_config.json', english, special).multilingual).toBe(false);
  });

  it('may have languages without English in a vocabulary of its own', () => {
    const own = parseConfig(
      {
        ...tiny,
        vocab_size: 4000,
        decoder_start_token_id: 2000,
        eos_token_id: 1999,
        begin_suppress_tokens: null,
        forced_decoder_ids: null,
      },
      'config.json',
    );
    const special = new Map([
      ['<|endoftext|>', 1999],
      ['<|startoftranscript|>', 2000],
      ['<|de|>', 2001],
      ['<|transcribe|>', 2002],
      ['<|notimestamps|>', 2003],
    ]);
    const generation = parseGenerationConfig(null, 'generation_config.json', own, special);
    expect([generation.multilingual, [...generation.languages]]).toEqual([true, [['de', 2001]]]);
  });

  const whole = {
    no_timestamps_token_id: 50363,
    lang_to_id: { '<|en|>': 50259, '<|de|>': 50261 },
    task_to_id: { transcribe: 50359, translate: 50358 },
    is_multilingual: true,
  };
  const parse = (json: object) => parseGenerationConfig({ ...whole, ...json }, 'g.json', config, new Map());

  it('ends the timestamps at the end of a window: tokens added after them are not timestamps', () => {
    expect(parse({})).toMatchObject({ timestampBegin: 50364, timestampEnd: 51865 });
    const larger = parseConfig({ ...tiny, vocab_size: 51900 }, 'config.json');
    expect(parseGenerationConfig(whole, 'g.json', larger, new Map()).timestampEnd).toBe(51865);
  });

  // The checkpoint's own language and task are the defaults, as in transformers.
  const german = {
    forced_decoder_ids: [
      [1, 50261],
      [2, 50358],
    ],
  };
  it.each<[string, object, { language?: string; task?: string }, { language: string | null; task: string }]>([
    ['nothing: config.json forces English', {}, {}, { language: 'en', task: 'transcribe' }],
    ['no tokens', { forced_decoder_ids: null }, {}, { language: 'en', task: 'transcribe' }],
    [
      'any language',
      {
        forced_decoder_ids: [
          [1, null],
          [2, 50358],
        ],
      },
      {},
      { language: null, task: 'translate' },
    ],
    ['German', german, {}, { language: 'de', task: 'translate' }],
    ['German', german, { task: 'transcribe' }, { language: null, task: 'transcribe' }],
    ['German', german, { language: 'en' }, { language: 'en', task: 'transcribe' }],
  ])('forcing %s: %j, called with %j, gives %j', (_, json, call, expected) => {
    expect(languageAndTask(call, parse(json))).toEqual(expected);
  });
  it.each<[object, { language?: string; task?: string }, { language: string | null; task: string }]>([
    [{ language: '<|de|>' }, {}, { language: 'de', task: 'transcribe' }],
    [{ language: 'german', task: 'translate' }, {}, { language: 'de', task: 'translate' }],
    [{ language: 'de', task: 'translate' }, { language: 'English' }, { language: 'en', task: 'translate' }],
    [{ language: 'de', task: 'translate' }, { task: 'transcribe' }, { language: 'de', task: 'transcribe' }],
    [{ language: 'de' }, { language: 'auto' }, { language: null, task: 'transcribe' }],
    [{ is_multilingual: false, language: 'de', task: 'translate' }, {}, { language: null, task: 'transcribe' }],
  ])('%j, called with %j, gives %j', (json, call, expected) => {
    expect(languageAndTask(call, parse(json))).toEqual(expected);
  });

  it.each([
    [{ language: 'klingon' }, 'expected language to be a language of lang_to_id but found "klingon"'],
    [{ language: 'fr' }, 'expected language to be a language of lang_to_id'],
    [{ task: 'sing' }, "expected task to be 'transcribe' or 'translate'"],
    [{ lang_to_id: { '<|de|>': 50261 } }, "expected lang_to_id to be Whisper's languages, including '<|en|>'"],
    [{ lang_to_id: { '<|en|>': 5 } }, "expected the token of 'en' to be a special token but found 5"],
    [{ task_to_id: { transcribe: 220 } }, "expected the token of 'transcribe' to be a special token"],
  ])('%j is refused', (json, message) => {
    expect(() => parse(json)).toThrow(message);
  });

  it('refuses ids outside the vocabulary', () => {
    expect(() => parseGenerationConfig({ no_timestamps_token_id: 60000 }, 'g.json', config, new Map())).toThrow(
      'g.json: expected no_timestamps_token_id',
    );
  });
});

describe('preprocessor_config.json', () => {
  const config = parseConfig(tiny, 'config.json');
  it('has Whisper’s defaults', () => {
    expect(parsePreprocessorConfig(null, 'p.json', config)).toEqual({
      sampleRate: 16000,
      hop: 160,
      fftSize: 400,
      mels: 80,
      samples: 480000,
      frames: 3000,
    });
  });

  it.each([
    [{ feature_size: 128 }, "p.json: expected feature_size to be config.json's num_mel_bins (80) but found 128."],
    [{ nb_max_frames: 1000 }, 'the two files do not belong together'],
    [{ sampling_rate: 3 }, 'expected sampling_rate to be hertz from 1000 to 768000 but found 3'],
    [{ sampling_rate: 8000 }, 'expected hop_length to be a hundredth of sampling_rate (8000) but found 160'],
    [{ n_fft: 401 }, 'expected n_fft to be an even number'],
  ])('refuses %o', (json, message) => {
    expect(() => parsePreprocessorConfig(json, 'p.json', config)).toThrow(message);
  });
});
