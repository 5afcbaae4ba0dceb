/** OpenAI's client with the server. */
import { createReadStream, readFileSync } from 'node:fs';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningServer } from '../../lib/server/index.js';
import { heldout, readAll, wavOf } from '../audio/support.js';
import { chunk, chunkedHead, form, open, part, until } from './raw.js';
import { clientOf, sample, sampleText, startServer } from './support.js';

let server: RunningServer;
let client: OpenAI;
beforeAll(async () => {
  server = await startServer();
  client = clientOf(server);
});
afterAll(() => server?.close());

const file = () => createReadStream(sample);
const model = 'whisper-1';
const { transcriptions, translations } = {
  transcriptions: () => client.audio.transcriptions,
  translations: () => client.audio.translations,
};

describe('the npm client', () => {
  it('gets JSON and the request id', async () => {
    const result = await transcriptions().create({ file: file(), model });
    expect(result).toMatchObject({
      text: sampleText,
      languages: [{ code: 'en' }],
      usage: { type: 'duration', seconds: 8 },
    });
    expect((result as unknown as { _request_id: string })._request_id).toMatch(/^req_[0-9a-f]{32}$/);
  });

  it.each(['text', 'srt', 'vtt'] as const)('gets %s as a string', async (response_format) => {
    const result: string = await transcriptions().create({ file: file(), model, response_format });
    if (response_format === 'text') expect(result).toBe(`${sampleText}\n`);
    else expect(result).toMatch(/00:00[,.]100 --> (00:)?00:01[,.]780\nWe will return on Thursday\.\n/);
    expect(result.startsWith('WEBVTT\n')).toBe(response_format === 'vtt');
  });

  it('gets the requested segments and words', async () => {
    const ask = (timestamp_granularities?: ('word' | 'segment')[]) =>
      transcriptions().create({ file: file(), model, response_format: 'verbose_json', timestamp_granularities });
    const [usual, words, both] = await Promise.all([ask(), ask(['word']), ask(['word', 'segment'])]);
    expect(usual).toMatchObject({ task: 'transcribe', language: 'english', text: sampleText, usage: { seconds: 8 } });
    expect(usual.duration).toBeCloseTo(7.467, 2);
    expect(usual.segments!.map(({ id, text }) => [id, text.trim()])).toEqual([
      [0, 'We will return on Thursday.'],
      [1, 'Add honey and chicken to the shopping list.'],
      [2, 'Move left forty five meters.'],
    ]);
    expect(Object.keys(usual.segments![0]).sort()).toEqual([
      'avg_logprob',
      'compression_ratio',
      'end',
      'id',
      'no_speech_prob',
      'seek',
      'start',
      'temperature',
      'text',
      'tokens',
    ]);
    expect([usual.words, words.segments]).toEqual([undefined, undefined]);
    expect(words.words!.map(({ word }) => word).join(' ')).toBe(sampleText);
    expect(both.segments).toHaveLength(3);
    expect(both.words).toEqual(words.words);
  });

  async function streamed(asked: Partial<OpenAI.Audio.TranscriptionCreateParamsStreaming> = {}) {
    const stream = await transcriptions().create({ file: file(), model, ...asked, stream: true });
    const events: OpenAI.Audio.TranscriptionStreamEvent[] = [];
    for await (const event of stream) events.push(event);
    const deltas = events.flatMap((event) => (event.type === 'transcript.text.delta' ? [event.delta] : []));
    const done = events.flatMap((event) => (event.type === 'transcript.text.done' ? [event] : []));
    expect([done.length, events.at(-1), deltas.join('')]).toEqual([1, done[0], done[0].text]);
    return { deltas, done: done[0] };
  }

  it('gets a stream of deltas that together are the text', async () => {
    const { deltas, done } = await streamed();
    expect(done.text).toBe(sampleText);
    expect(deltas.length).toBeGreaterThan(3);
    expect(done.usage).toMatchObject({ type: 'tokens', input_token_details: { audio_tokens: 374, text_tokens: 0 } });
    expect(done.usage!.total_tokens).toBe(done.usage!.input_tokens + done.usage!.output_tokens);
    expect(done.logprobs).toBeUndefined();
  });

  it('gets a stream even if it is requested after the file', async () => {
    const small = await toFile(readFileSync(sample), 'a.flac');
    const order = ['model', 'file', 'stream', 'response_format'] as const;
    const fields = { model, file: small, stream: true, response_format: 'json' } as const;
    for (const first of order) {
      const asked = Object.fromEntries([first, ...order].map((name) => [name, fields[name]]));
      const stream = await transcriptions().create(asked as unknown as typeof fields);
      let text = '';
      for await (const event of stream) if (event.type === 'transcript.text.delta') text += event.delta;
      expect(text, first).toBe(sampleText);
    }
  });

  it('gets words wherever in the form they are requested', async () => {
    const asked = {
      model,
      timestamp_granularities: ['word' as const],
      file: await toFile(readFileSync(sample), 'a.flac'),
      response_format: 'verbose_json' as const,
    };
    const { words } = await transcriptions().create(asked);
    expect(words).toHaveLength(18);
  });

  it('gets a stream of a recording that is split at silences, with words at its end', async () => {
    const { done } = await streamed({ chunking_strategy: 'auto', prompt: 'Thursday' });
    expect(done.text).toBe(sampleText);
    const vad = { type: 'server_vad', silence_duration_ms: 300 } as const;
    const spoken = await streamed({
      chunking_strategy: vad,
      response_format: 'verbose_json',
      timestamp_granularities: ['word'],
    });
    expect(spoken.done).toMatchObject({ text: sampleText, language: 'english', words: { length: 18 } });
  });

  it('gets the log-probability of each token, as JSON and in a stream', async () => {
    const result = await transcriptions().create({ file: file(), model, include: ['logprobs'] });
    const { logprobs = [] } = result;
    expect(Buffer.from(logprobs.flatMap(({ bytes = [] }) => bytes)).toString()).toBe(` ${sampleText}`);
    expect(logprobs.map(({ token }) => token).join('')).toBe(` ${sampleText}`);
    expect(logprobs.every(({ logprob }) => logprob! <= 0 && logprob! > -3)).toBe(true);
    const { done } = await streamed({ include: ['logprobs'] });
    expect(done.logprobs).toEqual(logprobs);
  });

  it('sets languages, keywords and temperature', async () => {
    const asked = { file: file(), model, languages: ['en'], keywords: ['Thursday', 'honey'], temperature: 0.2 };
    expect((await transcriptions().create(asked as never)).text).toContain('Thursday');
    const wrong = { ...asked, file: file(), languages: ['en', 'klingon'] };
    await expect(transcriptions().create(wrong as never)).rejects.toMatchObject({ status: 400, param: 'languages' });
  });

  it('may send fields that OpenAI adds later, which are ignored and named', async () => {
    const asked = { file: file(), model, tone: 'formal', 'accents[]': 'irish' };
    const { data, response } = await transcriptions()
      .create(asked as never)
      .withResponse();
    expect(data).toMatchObject({ text: sampleText });
    expect((data as unknown as { warnings: string[] }).warnings).toEqual([
      "The field 'tone' is unknown here, and was ignored.",
      "The field 'accents' is unknown here, and was ignored.",
    ]);
    expect(response.headers.get('x-onehead-ignored')).toBe('tone, accents');
    const text = transcriptions().create({ ...asked, file: file(), response_format: 'srt' } as never);
    expect((await text.asResponse()).headers.get('x-onehead-ignored')).toBe('tone, accents');
    const { done } = await streamed({ tone: 'formal' } as never);
    expect((done as unknown as { warnings: string[] }).warnings).toHaveLength(1);
    const plain = await transcriptions().create({ file: file(), model });
    expect(plain).not.toHaveProperty('warnings');
    // What would change the result is refused.
    const speakers = transcriptions().create({ file: file(), model, response_format: 'diarized_json' });
    await expect(speakers).rejects.toMatchObject({ status: 400, code: 'unsupported_value' });
  });

  it('can abort a request and send another', async () => {
    const gone = new AbortController();
    // The recording takes longer than the timeout.
    const long = createReadStream(`${heldout}voices.ogg`);
    const asked = transcriptions().create({ file: long, model }, { signal: gone.signal });
    setTimeout(() => gone.abort(), 30);
    await expect(asked).rejects.toThrow(OpenAI.APIUserAbortError);
    const stream = await transcriptions().create({ file: file(), model, stream: true });
    for await (const event of stream) if (event.type === 'transcript.text.delta') break; // closes the connection
    const [{ whisper }] = server.service.models.loaded();
    await until(() => whisper.figures().rows.used === 0 && server.service.openRequests === 0);
    expect((await transcriptions().create({ file: file(), model })).text).toBe(sampleText);
  });

  it('sends the file first or last, as bytes or as a stream', async () => {
    const bytes = readFileSync(sample);
    const texts = [
      await transcriptions().create({ file: await toFile(bytes, 'unknown_file'), model, language: 'en' }),
      await transcriptions().create({ model, language: 'en', file: await toFile(bytes, 'a.flac') }),
      await transcriptions().create({
        model,
        file: await toFile(bytes, 'a.flac'),
        temperature: 0,
        prompt: 'On Thursday',
      }),
    ].map(({ text }) => text);
    expect(texts).toEqual([sampleText, sampleText, sampleText]);
  });

  it('gets the text of the first window before the rest has arrived', async () => {
    const wav = wavOf((await readAll(`${heldout}12_long_seen.flac`)).samples);
    const half = Math.floor(wav.length / 2);
    const [{ whisper }] = server.service.models.loaded();
    for (const stream of [false, true]) {
      const before = whisper.figures().windows;
      const socket = await open(server);
      socket.write(chunkedHead());
      socket.write(chunk(Buffer.concat([part('model', model), part('stream', String(stream))])));
      const whole = form(part('file', wav, 'a.wav'));
      socket.write(chunk(whole.subarray(0, half)));
      let begun = false;
      socket.once('data', () => {
        begun = true;
      });
      await until(() => whisper.figures().windows > before && (begun || !stream));
      socket.write(chunk(whole.subarray(half)));
      socket.write('0\r\n\r\n');
      expect(await socket.answer).toMatch(/^HTTP\/1\.1 200 .*India echo kilo romeo hotel\..*the hotel\./s);
    }
  });

  it('lists models', async () => {
    const all = await client.models.list();
    expect(all.data.map(({ id, object }) => [id, object])).toEqual([['micro', 'model']]);
    expect((await client.models.retrieve('whisper-1')).id).toBe('micro');
    await expect(client.models.retrieve('nobody/nothing')).rejects.toThrow(OpenAI.NotFoundError);
  });

  it('gets an error for an unknown model', async () => {
    const error = await transcriptions()
      .create({ file: file(), model: 'nothing' })
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
    expect(error).toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
      type: 'invalid_request_error',
    });
  });

  it('gets a translation', async () => {
    const result = await translations().create({ file: file(), model, response_format: 'verbose_json' });
    expect(result).toMatchObject({
      language: 'english',
      text: sampleText,
      segments: [{ id: 0 }, { id: 1 }, { id: 2 }],
    });
  });
});
