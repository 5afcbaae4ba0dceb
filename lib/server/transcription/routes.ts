/** POST /v1/audio/transcriptions and /v1/audio/translations. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from '../service/api-error.js';
import { library } from '../service/libraries.js';
import type { Service } from '../service/service.js';
import { answerOf, verbose, warned } from './answer.js';
import { Deltas, EventStream } from './events.js';
import { type AudioRequest, type Endpoint, readFields } from './fields.js';
import { type Form, readForm } from './form.js';
import { transcribeForm, type Work } from './work.js';

/** Aborted when the client goes away before it has its answer. */
function untilGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new ApiError(499, 'The client went away.'));
  });
  return gone.signal;
}

/** Events of a transcription. The answer begins with the first, so that what fails before it has a status of its own. */
async function stream(
  reply: FastifyReply,
  transcribe: (events: EventStream, deltas: Deltas) => Promise<Work>,
): Promise<FastifyReply> {
  const events = new EventStream();
  const deltas = new Deltas();
  const work = transcribe(events, deltas).then(
    ({ asked, result }) => {
      events.send({
        type: 'transcript.text.done',
        text: deltas.text,
        languages: [{ code: result.language }],
        ...(asked.format === 'verbose_json' && verbose(result, asked, 'transcriptions')),
        ...warned(result),
      });
      events.end();
    },
    (error) => {
      if (events.count === 0) throw error;
      events.fail(error);
    },
  );
  await Promise.race([events.begun, work]);
  reply.header('cache-control', 'no-cache').header('x-accel-buffering', 'no').type('text/event-stream; charset=utf-8');
  return reply.send(events.readable);
}

async function handle(service: Service, endpoint: Endpoint, request: FastifyRequest, reply: FastifyReply) {
  const { close, headers } = service.clientOf(request).open();
  reply.headers(headers);
  const signal = untilGone(reply);
  let form: Form | null = null;
  const ended = async () => {
    close();
    await form?.close();
  };
  try {
    form = readForm(request, service);
    const whole = form;
    const read = (): AudioRequest => readFields(whole.fields, endpoint, service.options);
    await form.begun;
    if (!form.file || !form.fields.has('model')) await form.ended;
    if (read().stream) {
      return await stream(reply, (events, deltas) => {
        const work = transcribeForm(service, whole, read, signal, {
          sent: () => events.count > 0,
          onSegments: (segments) => {
            for (const segment of segments) {
              const delta = deltas.add(segment.text);
              if (delta !== '') events.send({ type: 'transcript.text.delta', delta });
            }
          },
        });
        return work.finally(ended);
      });
    }
    const { asked, result } = await transcribeForm(service, whole, read, signal);
    await ended();
    if (result.incomplete) reply.header('x-onehead-incomplete', 'true');
    const { type, body } = answerOf(result, asked, endpoint);
    return reply.type(type).send(body);
  } catch (error) {
    await ended();
    throw error;
  }
}

export async function audioRoutes(app: FastifyInstance, service: Service): Promise<void> {
  const { default: multipart } = await library(() => import('@fastify/multipart'));
  await app.register(multipart);
  for (const endpoint of ['transcriptions', 'translations'] as const) {
    app.post(`/v1/audio/${endpoint}`, { onRequest: service.authenticate }, (request, reply) =>
      handle(service, endpoint, request, reply),
    );
  }
}
