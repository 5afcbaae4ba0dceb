/** GET /v1/realtime, a WebSocket, and POST /v1/realtime/client_secrets. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, modelNotFound, refuseField } from '../service/api-error.js';
import type { Client } from '../service/keys.js';
import { library } from '../service/libraries.js';
import type { Service } from '../service/service.js';
import { errorEvent, identifier } from './events.js';
import { checkSessionLanguage } from './language.js';
import { Secrets } from './secrets.js';
import {
  defaultVad,
  describeSession,
  languageField,
  type SessionConfig,
  secretFields,
  updateConfig,
} from './session-config.js';
import { type Socket, serveSocket } from './socket.js';

/** Maximum bytes of a message. OpenAI limits the audio of an event to 15 MiB; this also leaves room for the JSON. */
const maxMessageBytes = 16 * 2 ** 20;

/** Prefix of the subprotocol that contains a key. */
const keyProtocol = 'openai-insecure-api-key.';

/** Established before a request's socket opens. */
interface Admission {
  client: Client;
  config: SessionConfig;
}

/** The key from the Authorization header, or from a subprotocol: a browser's WebSocket cannot set headers. */
function keyOf({ headers }: FastifyRequest): string | undefined {
  const [, bearer] = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '') ?? [];
  const protocols = String(headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/);
  return bearer ?? protocols.find((name) => name.startsWith(keyProtocol))?.slice(keyProtocol.length);
}

export async function realtimeRoutes(app: FastifyInstance, service: Service): Promise<void> {
  const { default: websocket } = await library(() => import('@fastify/websocket'));
  await app.register(websocket, {
    options: {
      maxPayload: maxMessageBytes,
      // The response must never select the subprotocol that contains the key.
      handleProtocols: (protocols: Set<string>) => (protocols.has('realtime') ? 'realtime' : false),
    },
    // The plugin would terminate the connection. After an invalid frame or a too large message, ws closes it, with the
    // code that says why; serveSocket logs the error.
    errorHandler: () => {},
    // serveSocket closes sockets itself, after their remaining events.
    preClose: (done: () => void) => done(),
  });
  const secrets = new Secrets(service.keys);
  const admissions = new WeakMap<FastifyRequest, Admission>();
  const defaultConfig = (): SessionConfig => ({
    format: { type: 'audio/pcm', rate: 24_000 },
    transcription: { model: service.models.defaultId },
    turnDetection: defaultVad,
    logprobs: false,
  });

  const admit = async (request: FastifyRequest, reply: FastifyReply) => {
    const { intent, model, language } = request.query as Record<string, unknown>;
    const key = keyOf(request);
    const secret = key === undefined ? null : secrets.find(key);
    const client =
      secret?.client ?? (key === undefined ? service.keys.authenticate(undefined) : service.keys.authenticateKey(key));
    service.logClient(request, reply, client);
    service.throwIfEnding();
    if (intent !== undefined && intent !== 'transcription') {
      refuseField('intent', "'transcription'", intent);
    }
    const config = structuredClone(secret?.config ?? defaultConfig());
    if (typeof model === 'string' && model !== '') {
      if (!service.models.find(model)) throw modelNotFound(model);
      config.transcription.model = model;
    }
    if (typeof language === 'string' && language !== '') config.transcription.language = language;
    await checkSessionLanguage(service.models, config.transcription, 'language');
    admissions.set(request, { client, config });
  };

  app.route({
    method: 'GET',
    url: '/v1/realtime',
    schema: {
      tags: ['realtime'],
      summary: 'Live transcription over a WebSocket',
      security: [{ key: [] }],
    } as object,
    onRequest: admit,
    handler: async (_, reply) => {
      reply.header('upgrade', 'websocket').header('connection', 'Upgrade');
      throw new ApiError(426, 'This route only accepts WebSocket connections; connect with a WebSocket client.');
    },
    wsHandler: (webSocket, request) => {
      const socket = webSocket as unknown as Socket;
      const { client, config } = admissions.get(request)!;
      try {
        serveSocket(socket, service, config, service.open(client), request.log);
      } catch (error) {
        socket.send(JSON.stringify(errorEvent(error)));
        socket.close(1013, 'try again later');
      }
    },
  });

  app.post(
    '/v1/realtime/client_secrets',
    {
      onRequest: service.authenticate,
      schema: { tags: ['realtime'], summary: 'A temporary secret for a browser', security: [{ key: [] }] } as object,
    },
    async (request, reply) => {
      const client = service.clientOf(request);
      const { headers, close } = service.open(client);
      reply.headers(headers);
      // Only its rate matters: it takes no time.
      close();
      const { expiresAfter, session } = secretFields(request.body);
      const config = updateConfig(defaultConfig(), session);
      if (!service.models.find(config.transcription.model)) throw modelNotFound(config.transcription.model);
      await checkSessionLanguage(service.models, config.transcription, languageField);
      const secret = secrets.create(client, config, expiresAfter);
      return { ...secret, session: describeSession(config, identifier('sess'), secret.expires_at) };
    },
  );
}
