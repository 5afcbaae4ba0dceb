/** A realtime session: handles the client's events in order. */
import { described } from '../../checks.js';
import { ApiError } from '../service/api-error.js';
import type { Service } from '../service/service.js';
import { bytesOf, bytesOfSample, rateOf, samplesOf } from './audio.js';
import { errorEvent, identifier, type Send } from './events.js';
import { checkSessionLanguage } from './language.js';
import {
  languageField,
  liveOptionsOf,
  type SessionConfig,
  describeSession,
  toldOld,
  updated,
  updatedOld,
} from './session-config.js';
import { type Conversation, Speech } from './speech.js';

interface ClientEvent extends Record<string, unknown> {
  type: string;
  event_id?: unknown;
}

function parsed(text: string): ClientEvent {
  let event: unknown;
  try {
    event = JSON.parse(text);
  } catch {
    throw new ApiError(400, 'The message is not JSON.', { code: 'invalid_json' });
  }
  if (typeof event !== 'object' || event === null || typeof (event as ClientEvent).type !== 'string') {
    throw new ApiError(400, "The message is not an event: an object with a 'type'.", {
      param: 'type',
      code: 'invalid_event',
    });
  }
  return event as ClientEvent;
}

const handled = [
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
  /** Replaced streams that have not sent all their events. */
  readonly #ending = new Set<Promise<void>>();
  /** Milliseconds of audio in previous streams. */
  #offset = 0;
  /** Bytes of a sample that the end of a message divided. */
  #rest: Buffer = Buffer.alloc(0);
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

  /** Sends the first events. */
  begin(): void {
    this.#send({ type: 'session.created', session: describeSession(this.#config, this.id, this.#expiresAt) });
  }

  /** Handles a message; errors are sent to the client. True if it was an event. */
  async receive(text: string): Promise<boolean> {
    let cause: string | null = null;
    try {
      const event = parsed(text);
      cause = typeof event.event_id === 'string' ? event.event_id.slice(0, 512) : null;
      await this.#handle(event);
      return true;
    } catch (error) {
      if (this.#stop.signal.aborted) return true;
      const { log } = this.#service;
      if (!(error instanceof ApiError)) log.info({ err: error, session: this.id }, 'realtime event failed');
      this.#send(errorEvent(error, cause));
      return false;
    }
  }

  async #handle(event: ClientEvent): Promise<void> {
    switch (event.type) {
      case 'session.update':
        await this.#update(updated(this.#config, event.session));
        this.#send({ type: 'session.updated', session: describeSession(this.#config, this.id, this.#expiresAt) });
        break;
      case 'transcription_session.update':
        await this.#update(updatedOld(this.#config, event.session));
        this.#send({ type: 'transcription_session.updated', session: toldOld(this.#config, this.id, this.#expiresAt) });
        break;
      case 'input_audio_buffer.append':
        await this.#append(event.audio);
        break;
      case 'input_audio_buffer.commit':
        (await this.#open()).commit();
        break;
      case 'input_audio_buffer.clear':
        (await this.#open()).clear();
        this.#rest = Buffer.alloc(0);
        break;
      default:
        throw new ApiError(
          400,
          `Expected type to be one of ${handled.join(', ')} but received ${described(event.type)}.`,
          { param: 'type', code: 'invalid_value' },
        );
    }
  }

  async #append(audio: unknown): Promise<void> {
    const bytes = bytesOf(audio);
    if (!bytes) {
      throw new ApiError(400, 'Expected audio to be the base64 text of samples.', {
        param: 'audio',
        code: 'invalid_value',
      });
    }
    const { format } = this.#config;
    const all = this.#rest.length > 0 ? Buffer.concat([this.#rest, bytes]) : bytes;
    const whole = all.length - (all.length % bytesOfSample(format));
    this.#rest = Buffer.from(all.subarray(whole));
    const samples = samplesOf(all.subarray(0, whole), format);
    if (samples.length > 0) await (await this.#open()).push(samples);
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
    this.#rest = Buffer.alloc(0);
    const before = this.#speech;
    this.#speech = null;
    if (!before) return;
    this.#offset += before.milliseconds;
    const ended = before.finish().catch(() => {});
    this.#ending.add(ended);
    void ended.then(() => this.#ending.delete(ended));
  }

  /** The stream with the current configuration, opened on demand. */
  async #open(): Promise<Speech> {
    if (this.#speech) return this.#speech;
    const { signal } = this.#stop;
    const config = this.#config;
    const lease = await this.#service.models.acquire(config.transcription.model, signal);
    try {
      this.#service.admit(lease.whisper);
      const tokenizer = config.logprobs ? await lease.whisper.model.checkpoint.tokenizer() : null;
      const live = await lease.whisper.live({ ...liveOptionsOf(config), signal });
      const speech = new Speech({
        live,
        conversation: this.#conversation,
        manual: config.turnDetection === null,
        rate: rateOf(config.format),
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

  /** Takes no more audio; resolves when all events were sent. */
  async finish(): Promise<void> {
    await Promise.all([this.#speech?.finish(), ...this.#ending]);
  }

  /** Aborts the session; its rows are free within a step. */
  end(): void {
    this.#stop.abort(new ApiError(499, 'The client has disconnected.'));
  }
}
