/** POST /v1/audio/transcriptions and /v1/audio/translations. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { onAbort } from '../../signals.js';
import { ApiError, overloaded } from '../service/api-error.js';
import { library } from '../service/libraries.js';
import type { Service } from '../service/service.js';

import { Deltas, EventStream } from './events.js';
import { type AudioRequest, type Endpoint, readFields } from './fields.js';
import { type Form, readForm } from './form.js';
import { languagesOf, responseOf, verboseFields, warningsOf } from './response.js';
import { audioSchema } from './schema.js';
import { type FormTranscription, type TranscriptionCallbacks, transcribeForm } from './transcribe-form.js';

/**
 * Milliseconds to wait for the end of a form before its file is decoded as a stream. Most forms are complete by then,
 * and a complete file is sent to the decoder's thread at once, not in pieces.
 */
const formDelay = 20;

/** Names as a header, which some characters may not be in. */
const headerOf = (names: readonly string[]): string => names.join(', ').replace(/[^\x20-\x7e]/g, '?');

/** Handles a request. */
class RequestHandler {
  readonly #service: Service;
  readonly #endpoint: Endpoint;
  readonly #request: FastifyRequest;
  readonly #reply: FastifyReply;
  readonly #abort = new AbortController();
  #form: Form | null = null;
  #firstText: number | null = null;
  /** When the request's headers had arrived, on `performance`'s clock. */
  readonly #began: number;
  /** The model that transcribed the recording. */
  #model: string | null = null;
  #cleanups: (() => void)[] = [];

  constructor(service: Service, endpoint: Endpoint, request: FastifyRequest, reply: FastifyReply) {
    this.#service = service;
    this.#endpoint = endpoint;
    this.#request = request;
    this.#reply = reply;
    this.#began = performance.now() - reply.elapsedTime;
  }

  get #elapsed(): number {
    return performance.now() - this.#began;
  }

  /** Aborts when the client disconnects before its response is complete, and when the server has to stop. */
  #abortWhenNeeded(): void {
    const { raw } = this.#reply;
    const { ended, metrics } = this.#service;
    const onClose = () => {
      if (raw.writableFinished) {
        if (this.#model !== null) metrics.responded(this.#endpoint, this.#model, this.#elapsed / 1000);
        return;
      }
      metrics.disconnected(this.#endpoint);
      this.#abort.abort(new ApiError(499, 'The client disconnected.', { code: 'client_gone' }));
    };
    const onEnded = () => this.#abort.abort(ended.reason);
    if (raw.destroyed) onClose();
    else raw.once('close', onClose);
    this.#cleanups.push(onAbort(ended, onEnded));
  }

  async #cleanUp(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0)) cleanup();
    await this.#form?.close();
  }

  /** Validates the fields that have arrived. Throws ApiError 400. */
  #readRequest(): AudioRequest {
    const { refuseUnknownFields } = this.#service.options;
    const { fields, complete } = this.#form!;
    return readFields(fields, this.#endpoint, { refuseUnknownFields, complete });
  }

  /** Transcribes the file and records metrics. Resolves to null if fields after the file request a stream. */
  async #transcribe(callbacks: TranscriptionCallbacks = {}): Promise<FormTranscription | null> {
    const timed: TranscriptionCallbacks = {
      ...callbacks,
      onText: (text) => {
        this.#firstText ??= this.#elapsed;
        callbacks.onText?.(text);
      },
      onWindow: ({ length }) => {
        if (length > 0) this.#firstText ??= this.#elapsed;
      },
    };
    const { name, priority } = this.#service.clientOf(this.#request);
    const options = { signal: this.#abort.signal, priority };
    const work = await transcribeForm(this.#service, this.#form!, () => this.#readRequest(), options, timed);
    if (!work) return null;
    const { metrics } = this.#service;
    const { id, request, result } = work;
    this.#model = id;
    metrics.transcribed(id, name, result.duration);
    if (this.#firstText !== null) metrics.firstText(id, this.#firstText / 1000);
    const { format, stream } = request;
    this.#request.log.info(
      { model: id, format, stream, audioSeconds: result.duration, milliseconds: Math.round(this.#elapsed) },
      'transcribed',
    );
    return work;
  }

  async handle(): Promise<FastifyReply> {
    const { headers, close } = this.#service.open(this.#service.clientOf(this.#request));
    this.#cleanups.push(close);
    this.#reply.headers(headers);
    this.#abortWhenNeeded();
    try {
      const form = readForm(this.#request, this.#service);
      this.#form = form;
      this.#cleanups.push(() => this.#service.metrics.uploaded(form.file?.size ?? 0));
      await form.fileBegun;
      if (!form.complete) await Promise.race([form.ended, sleep(formDelay, undefined, { ref: false })]);
      if (!form.file || !form.fields.has('model')) await form.ended;
      const work = this.#readRequest().stream ? null : await this.#transcribe();
      if (!work) return await this.#stream();
      await this.#cleanUp();
      if (work.result.incomplete) this.#reply.header('x-onehead-incomplete', 'true');
      if (work.request.ignored.length > 0) this.#reply.header('x-onehead-ignored', headerOf(work.request.ignored));
      const { type, body } = responseOf(work, this.#endpoint);
      return this.#reply.type(type).send(body);
    } catch (error) {
      await this.#cleanUp();
      throw error;
    }
  }

  /** Streams events. The response begins with the first event, so earlier errors are sent with their own status. */
  async #stream(): Promise<FastifyReply> {
    const events = new EventStream();
    const deltas = new Deltas();
    const onText = (text: string) => {
      const delta = deltas.add(text);
      if (delta !== '') events.send({ type: 'transcript.text.delta', delta });
    };
    const work = this.#transcribe({ onText, hasSent: () => events.count > 0 })
      .finally(() => this.#cleanUp())
      .then(
        (work) => {
          const { request, result, logprobs, usage } = work!;
          events.send({
            type: 'transcript.text.done',
            text: deltas.text,
            ...(logprobs && { logprobs }),
            languages: languagesOf(result),
            usage,
            ...(request.format === 'verbose_json' && verboseFields(result, request, this.#endpoint)),
            ...warningsOf(result, request),
          });
          events.end();
        },
        (error) => {
          if (!events.open) {
            events.discard();
            throw error;
          }
          this.#request.log.info({ err: error }, 'stream failed');
          events.fail(error);
        },
      );
    await Promise.race([events.started, work]);
    return this.#reply
      .header('cache-control', 'no-cache')
      .header('x-accel-buffering', 'no')
      .type('text/event-stream; charset=utf-8')
      .send(events.readable);
  }
}

export async function audioRoutes(app: FastifyInstance, service: Service): Promise<void> {
  // Other content types reach readForm, which refuses them with the API's error.
  if (!app.hasContentTypeParser('*')) app.addContentTypeParser('*', (_request, _body, done) => done(null));
  const { default: multipart } = await library(() => import('@fastify/multipart'));
  const { default: underPressure } = await library(() => import('@fastify/under-pressure'));
  if (!app.hasContentTypeParser('multipart/form-data')) await app.register(multipart);
  await app.register(underPressure, {
    maxEventLoopDelay: service.options.maximumEventLoopDelay,
    pressureHandler: () => {
      throw overloaded(5);
    },
  });
  for (const endpoint of ['transcriptions', 'translations'] as const) {
    const url = `/v1/audio/${endpoint}`;
    app.post(url, { onRequest: service.authenticate, schema: audioSchema(endpoint) as object }, (request, reply) =>
      new RequestHandler(service, endpoint, request, reply).handle(),
    );
    app.route({
      url,
      method: ['GET', 'PUT', 'PATCH', 'DELETE'],
      schema: { hide: true } as object,
      handler: async (request, reply) => {
        reply.header('allow', 'POST');
        throw new ApiError(405, `The method ${request.method} is not allowed for ${url}; use POST.`);
      },
    });
  }
}
