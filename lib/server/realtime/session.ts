/** A realtime session, which handles the client's events one after another. */
import { setImmediate } from 'node:timers/promises';
import { described } from '../../checks.js';
import { ApiError, refuseField } from '../service/api-error.js';
import type { Service } from '../service/service.js';
import { bytesPerSample, decodeBase64, decodeSamples, sampleRateOf } from './audio.js';
import { errorEvent, identifier, type Send } from './events.js';
import { checkSessionLanguage } from './language.js';
import {
  describeBetaSession,
  describeSession,
  languageField,
  liveOptionsOf,
  type SessionConfig,
  updateBetaConfig,
  updateConfig,
} from './session-config.js';
import { type Conversation, Speech } from './speech.js';

/** Seconds of a message's audio that are pushed at once: a message may have many minutes. */
const pieceSeconds = 1;

interface ClientEvent extends Record<string, unknown> {
  type: string;
  event_id?: unknown;
}

function parseEvent(text: string): ClientEvent {
  let event: unknown;
  try {
    event = JSON.parse(text);
  } catch {
    throw new ApiError(400, 'The message is not JSON.', { code: 'invalid_json' });
  }
  if (typeof event !== 'object' || event === null || typeof (event as ClientEvent).type !== 'string') {
    throw new ApiError(400, "The message is not an event, which is an object with a 'type'.", {
      param: 'type',
      code: 'invalid_event',
    });
  }
  return event as ClientEvent;
}

const eventTypes = [
  'session.update',
  'transcription_session.update',
  'input_audio_buffer.append',
  'input_audio_buffer.commit',
  'input_audio_buffer.clear',
];

export class Session {
  readonly id = identifier('sess');
  readonly #service: Service;
  readonly #send: Send;
  readonly #expiresAt: number;
  readonly #conversation: Conversation;
  readonly #stop = new AbortController();
  #config: SessionConfig;
  #speech: Speech | null = null;
  /** Resolves when the stream of the previous configuration has sent all its events. */
  #previousEnded: Promise<void> = Promise.resolve();
  /** Milliseconds of audio in earlier streams. */
  #offset = 0;
  /** The first bytes of a sample whose other bytes are in the next message. */
  #partialSample: Buffer = Buffer.alloc(0);
  /** Called with the model and seconds of each piece of audio. */
  onAudio: (model: string, seconds: number) => void = () => {};
  /** Called with the reason if the stream fails. */
  onFailure: (error: unknown) => void = () => {};

  /** @param expiresAt Seconds since 1970. */
  constructor(service: Service, config: SessionConfig, expiresAt: number, send: Send) {
    this.#service = service;
    this.#config = config;
    this.#expiresAt = expiresAt;
    this.#send = send;
    this.#conversation = { send, last: null };
  }

  /** Sends the first event. */
  begin(): void {
    this.#send({ type: 'session.created', session: describeSession(this.#config, this.id, this.#expiresAt) });
  }

  /** Handles a message, and sends errors to the client. Resolves to false if there was one. */
  async receive(text: string): Promise<boolean> {
    let eventId: string | null = null;
    try {
      const event = parseEvent(text);
      eventId = typeof event.event_id === 'string' ? event.event_id.slice(0, 512) : null;
      await this.#handle(event);
      return true;
    } catch (error) {
      if (this.#stop.signal.aborted) return true;
      const { log } = this.#service;
      if (!(error instanceof ApiError)) log.info({ err: error, session: this.id }, 'realtime event failed');
      this.#send(errorEvent(error, eventId));
      return false;
    }
  }

  async #handle(event: ClientEvent): Promise<void> {
    switch (event.type) {
      case 'session.update':
        await this.#update(updateConfig(this.#config, event.session));
        this.#send({ type: 'session.updated', session: describeSession(this.#config, this.id, this.#expiresAt) });
        break;
      case 'transcription_session.update':
        await this.#update(updateBetaConfig(this.#config, event.session));
        this.#send({
          type: 'transcription_session.updated',
          session: describeBetaSession(this.#config, this.id, this.#expiresAt),
        });
        break;
      case 'input_audio_buffer.append':
        await this.#append(event.audio);
        break;
      case 'input_audio_buffer.commit':
        await (await this.#open()).commit();
        break;
      case 'input_audio_buffer.clear':
        (await this.#open()).clear();
        this.#partialSample = Buffer.alloc(0);
        break;
      default:
        refuseField('type', `one of ${eventTypes.join(', ')}`, event.type);
    }
  }

  async #append(audio: unknown): Promise<void> {
    const bytes = decodeBase64(audio);
    if (!bytes) refuseField('audio', 'samples encoded as base64', audio);
    const { format } = this.#config;
    const all = this.#partialSample.length > 0 ? Buffer.concat([this.#partialSample, bytes]) : bytes;
    const whole = all.length - (all.length % bytesPerSample(format));
    this.#partialSample = Buffer.from(all.subarray(whole));
    if (whole === 0) return;
    const speech = await this.#open();
    const id = this.#service.models.find(this.#config.transcription.model)?.id ?? this.#service.models.defaultId;
    const bytesPerSecond = bytesPerSample(format) * sampleRateOf(format);
    // Before the wait, during which the client may go.
    this.onAudio(id, whole / bytesPerSecond);
    const pieceBytes = pieceSeconds * bytesPerSecond;
    for (let at = 0; at < whole; at += pieceBytes) {
      // Between pieces, other requests are handled.
      if (at > 0) await setImmediate();
      speech.push(decodeSamples(all.subarray(at, Math.min(at + pieceBytes, whole)), format));
      await speech.caughtUp();
    }
  }

  /** Applies a new configuration to the following audio. */
  async #update(config: SessionConfig): Promise<void> {
    const { model } = config.transcription;
    if (!this.#service.models.find(model)) {
      throw new ApiError(400, `The model ${described(model)} is not served; GET /v1/models lists the served models.`, {
        param: 'session.audio.input.transcription.model',
        code: 'model_not_found',
      });
    }
    if (JSON.stringify(config) === JSON.stringify(this.#config)) return;
    await checkSessionLanguage(this.#service.models, config.transcription, languageField, this.#stop.signal);
    if (this.#speech && this.#config.turnDetection === null && this.#speech.buffered > 0) {
      throw new ApiError(400, 'Commit or clear the audio buffer before updating the session.', {
        code: 'buffer_not_empty',
      });
    }
    this.#config = config;
    this.#partialSample = Buffer.alloc(0);
    const previous = this.#speech;
    this.#speech = null;
    if (!previous) return;
    this.#offset += previous.milliseconds;
    this.#previousEnded = previous.finish().catch(() => {}); // `onFailure` reports it
  }

  /** The stream with the current configuration, opened on demand. */
  async #open(): Promise<Speech> {
    if (this.#speech) return this.#speech;
    // So that items have the order of their audio.
    await this.#previousEnded;
    const { signal } = this.#stop;
    signal.throwIfAborted();
    const config = this.#config;
    const lease = await this.#service.models.acquire(config.transcription.model, signal);
    try {
      this.#service.admit(lease.whisper, 'live');
      const tokenizer = config.logprobs ? await lease.whisper.model.checkpoint.tokenizer() : null;
      const live = await lease.whisper.live({ ...liveOptionsOf(config), signal });
      const speech = new Speech({
        live,
        conversation: this.#conversation,
        manual: config.turnDetection === null,
        rate: sampleRateOf(config.format),
        offset: this.#offset,
        padding: config.turnDetection?.prefix_padding_ms ?? 0,
        tokenizer,
      });
      this.#speech = speech;
      speech.ended.then(lease.release, (error) => {
        lease.release();
        if (!signal.aborted) this.onFailure(error);
      });
      return speech;
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /** Stops accepting audio. Resolves once all events have been sent. */
  async finish(): Promise<void> {
    await Promise.all([this.#speech?.finish(), this.#previousEnded]);
  }

  /** Aborts the session. The engine frees its rows after the current decode step. */
  abort(): void {
    this.#stop.abort(new ApiError(499, 'The client has disconnected.'));
  }
}
