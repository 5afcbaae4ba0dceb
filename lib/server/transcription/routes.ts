/** POST /v1/audio/transcriptions and /v1/audio/translations. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, overloaded } from '../service/api-error.js';
import { library } from '../service/libraries.js';
import type { Service } from '../service/service.js';
import { answerOf, verbose, warned } from './answer.js';
import { Deltas, EventStream } from './events.js';
import { type AudioRequest, type Endpoint, readFields } from './fields.js';
import { type Form, readForm } from './form.js';
import { audioSchema } from './schema.js';
import { transcribeForm, type Work, type WorkEvents } from './work.js';

/**
 * Milliseconds to wait for the end of a form before its file is decoded while it arrives. Most forms are complete by
 * then, and a complete file is sent to its thread as a whole, not in pieces.
 */
const patience = 20;

/** Handles one request. */
class Handling {
  readonly #service: Service;
  readonly #endpoint: Endpoint;
  readonly #request: FastifyRequest;
  readonly #reply: FastifyReply;
  readonly #abort = new AbortController();
  #form: Form | null = null;
  #firstText: number | null = null;
  #ends: (() => void)[] = [];

  constructor(service: Service, endpoint: Endpoint, request: FastifyRequest, reply: FastifyReply) {
    this.#service = service;
    this.#endpoint = endpoint;
    this.#request = request;
    this.#reply = reply;
  }

  /** Aborts when the client disconnects before its response is complete, and when the server has to stop. */
  #watch(): void {
    const { raw } = this.#reply;
    const { ended, metrics } = this.#service;
    const gone = () => {
      if (raw.writableFinished) return;
      metrics.gone(this.#endpoint);
      this.#abort.abort(new ApiError(499, 'The client disconnected.', { code: 'client_gone' }));
    };
    const late = () => this.#abort.abort(ended.reason);
    if (raw.destroyed) gone();
    else raw.once('close', gone);
    ended.addEventListener('abort', late);
    this.#ends.push(() => ended.removeEventListener('abort', late));
  }

  async #end(): Promise<void> {
    for (const end of this.#ends.splice(0)) end();
    await this.#form?.close();
  }

  #asked(): AudioRequest {
    const { ignoreUnknownFields } = this.#service.options;
    const { fields, complete } = this.#form!;
    return readFields(fields, this.#endpoint, { ignoreUnknownFields, complete });
  }

  /** Null if fields after the file request a stream. */
  async #work(events: WorkEvents = {}): Promise<Work | null> {
    const started = performance.now();
    const noted: WorkEvents = {
      ...events,
      onText: (text) => {
        this.#firstText ??= performance.now() - started;
        events.onText?.(text);
      },
      onWindow: ({ length }) => {
        if (length > 0) this.#firstText ??= performance.now() - started;
      },
    };
    const { priority } = this.#service.clientOf(this.#request);
    const how = { signal: this.#abort.signal, priority };
    const work = await transcribeForm(this.#service, this.#form!, () => this.#asked(), how, noted);
    if (!work) return null;
    const { metrics } = this.#service;
    const { id, asked, result } = work;
    const elapsed = performance.now() - started;
    metrics.transcribed(this.#endpoint, id, elapsed / 1000, result.duration);
    if (this.#firstText !== null) metrics.firstText(id, this.#firstText / 1000);
    const { format, stream } = asked;
    this.#request.log.info(
      { model: id, format, stream, audioSeconds: result.duration, milliseconds: Math.round(elapsed) },
      'transcribed',
    );
    return work;
  }

  async answer(): Promise<FastifyReply> {
    const { headers, close } = this.#service.open(this.#service.clientOf(this.#request));
    this.#ends.push(close);
    this.#reply.headers(headers);
    this.#watch();
    try {
      const form = readForm(this.#request, this.#service);
      this.#form = form;
      this.#ends.push(() => this.#service.metrics.uploaded(form.file?.size ?? 0));
      await form.begun;
      if (!form.complete) await Promise.race([form.ended, sleep(patience, undefined, { ref: false })]);
      if (!form.file || !form.fields.has('model')) await form.ended;
      const work = this.#asked().stream ? null : await this.#work();
      if (!work) return await this.#stream();
      await this.#end();
      if (work.result.incomplete) this.#reply.header('x-onehead-incomplete', 'true');
      const { type, body } = answerOf(work, this.#endpoint);
      return this.#reply.type(type).send(body);
    } catch (error) {
      await this.#end();
      throw error;
    }
  }

  /** Streams events. The response begins with the first event, so earlier errors get their own status. */
  async #stream(): Promise<FastifyReply> {
    const events = new EventStream();
    const deltas = new Deltas();
    const onText = (text: string) => {
      const delta = deltas.add(text);
      if (delta !== '') events.send({ type: 'transcript.text.delta', delta });
    };
    const work = this.#work({ onText, sent: () => events.count > 0 })
      .finally(() => this.#end())
      .then(
        (work) => {
          const { asked, result, logprobs, usage } = work!;
          events.send({
            type: 'transcript.text.done',
            text: deltas.text,
            ...(logprobs && { logprobs }),
            languages: [{ code: result.language }],
            usage,
            ...(asked.format === 'verbose_json' && verbose(result, asked, this.#endpoint)),
            ...warned(result),
          });
          events.end();
        },
        (error) => {
          if (!events.open) throw error;
          this.#request.log.info({ err: error }, 'ended in the middle');
          events.fail(error);
        },
      );
    await Promise.race([events.begun, work]);
    return this.#reply
      .header('cache-control', 'no-cache')
      .header('x-accel-buffering', 'no')
      .type('text/event-stream; charset=utf-8')
      .send(events.readable);
  }
}

export async function audioRoutes(app: FastifyInstance, service: Service): Promise<void> {
  // The form parser refuses other types with its own message.
  if (!app.hasContentTypeParser('*')) app.addContentTypeParser('*', (_request, _body, done) => done(null));
  const { default: multipart } = await library(() => import('@fastify/multipart'));
  const { default: underPressure } = await library(() => import('@fastify/under-pressure'));
  if (!app.hasContentTypeParser('multipart/form-data')) await app.register(multipart);
  await app.register(underPressure, {
    maxEventLoopDelay: service.options.maximumEventLoopDelay * 1000,
    pressureHandler: () => {
      throw overloaded(5);
    },
  });
  for (const endpoint of ['transcriptions', 'translations'] as const) {
    const url = `/v1/audio/${endpoint}`;
    app.post(url, { onRequest: service.authenticate, schema: audioSchema(endpoint) as object }, (request, reply) =>
      new Handling(service, endpoint, request, reply).answer(),
    );
    app.route({
      url,
      method: ['GET', 'PUT', 'PATCH', 'DELETE'],
      schema: { hide: true } as object,
      handler: async (request, reply) => {
        reply.header('allow', 'POST');
        throw new ApiError(405, `Not allowed to ${request.method} on ${url}; send a POST.`);
      },
    });
  }
}
