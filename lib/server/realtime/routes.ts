/** GET /v1/realtime, a WebSocket, and POST /v1/realtime/client_secrets. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { shown } from '../../errors.js';
import { ApiError, badField, modelNotFound } from '../service/api-error.js';
import type { Client } from '../service/keys.js';
import { library } from '../service/libraries.js';
import type { Service } from '../service/service.js';
import { errorEvent, identifier } from './events.js';
import { checkSessionLanguage } from './language.js';
import { Secrets } from './secrets.js';
import {
  languageField,
  type SessionConfig,
  secretFields,
  describeSession,
  updated,
  usualVad,
} from './session-config.js';
import { type Socket, serveSocket } from './socket.js';

/** Maximum bytes of a message: OpenAI's limit for audio, with the JSON around it. */
const maxMessageBytes = 16 * 2 ** 20;

/** Facts of a request that are checked before its socket opens. */
interface Admitted {
  client: Client;
  config: SessionConfig;
}

/** A browser's WebSocket cannot set headers: it sends the key as a protocol. */
function keyOf({ headers }: FastifyRequest): string | undefined {
  const [, bearer] = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '') ?? [];
  const protocols = String(headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/);
  const named = protocols.find((one) => one.startsWith('openai-insecure-api-key.'));
  return bearer ?? named?.slice('openai-insecure-api-key.'.length);
}

export async function realtimeRoutes(app: FastifyInstance, service: Service): Promise<void> {
  const { default: websocket } = await library(() => import('@fastify/websocket'));
  await app.register(websocket, {
    options: {
      maxPayload: maxMessageBytes,
      // The key must not be agreed on as a protocol.
      handleProtocols: (protocols: Set<string>) => (protocols.has('realtime') ? 'realtime' : false),
    },
    // Sockets are closed by our own code, after their remaining events.
    preClose: (done: () => void) => done(),
  });
  const secrets = new Secrets();
  const admitted = new WeakMap<FastifyRequest, Admitted>();
  const usual = (): SessionConfig => ({
    format: { type: 'audio/pcm', rate: 24_000 },
    transcription: { model: service.models.usual },
    turnDetection: usualVad,
    logprobs: false,
  });

  const admit = async (request: FastifyRequest) => {
    const { intent, model, language } = request.query as Record<string, unknown>;
    const key = keyOf(request);
    const found = key === undefined ? null : secrets.find(key);
    const client =
      found?.client ?? (key === undefined ? service.keys.authenticate(undefined) : service.keys.authenticateKey(key));
    service.throwIfEnding();
    if (intent !== undefined && intent !== 'transcription') {
      throw badField('intent', `Expected intent to be 'transcription' but received '${shown(intent, 100)}'.`);
    }
    const config = structuredClone(found?.config ?? usual());
    if (typeof model === 'string' && model !== '') {
      if (!service.models.find(model)) throw modelNotFound(model);
      config.transcription.model = model;
    }
    if (typeof language === 'string' && language !== '') config.transcription.language = language;
    await checkSessionLanguage(service.models, config.transcription, 'language');
    admitted.set(request, { client, config });
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
      throw new ApiError(426, 'This address needs a WebSocket; open it as one.');
    },
    wsHandler: (given, request) => {
      const socket = given as unknown as Socket;
      const { client, config } = admitted.get(request)!;
      try {
        serveSocket(socket, service, config, service.open(client), service.options);
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
      schema: { tags: ['realtime'], summary: 'A secret for a browser', security: [{ key: [] }] } as object,
    },
    async (request) => {
      const { expiresAfter, session } = secretFields(request.body);
      const config = updated(usual(), session);
      if (!service.models.find(config.transcription.model)) throw modelNotFound(config.transcription.model);
      await checkSessionLanguage(service.models, config.transcription, languageField);
      const secret = secrets.create(service.clientOf(request), config, expiresAfter);
      return { ...secret, session: describeSession(config, identifier('sess'), secret.expires_at) };
    },
  );
}
