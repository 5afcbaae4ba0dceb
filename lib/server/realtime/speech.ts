/** A stream of live transcription within a session: accepts samples, sends events. Each configuration has its own. */
import { setImmediate } from 'node:timers/promises';
import type { WhisperTokenizer } from '../../whisper/checkpoint/tokenizer.js';
import type { LiveTranscription } from '../../whisper/live/live.js';
import type { LiveEvent, TokenScores } from '../../whisper/live/types.js';
import { ApiError } from '../service/api-error.js';
import { type TokenLogprob, tokenLogprobs } from '../service/token-logprobs.js';
import {
  committedEvents,
  completedEvent,
  deltaEvent,
  errorEvent,
  failedEvent,
  identifier,
  type Send,
} from './events.js';

/** Seconds of undecoded audio at which `push` pauses, and at which it resumes. */
const [pauseAt, resumeAt] = [30, 10];
/** Minimum milliseconds of audio in a commit, as in OpenAI's API. */
const minCommitted = 100;

/** State shared by the streams of a session. */
export interface Conversation {
  send: Send;
  /** The id of the last item. */
  last: string | null;
}

export interface SpeechSettings {
  live: LiveTranscription;
  conversation: Conversation;
  /** True if the client ends turns. */
  manual: boolean;
  /** Hertz of the samples. */
  rate: number;
  /** Milliseconds of the session's audio before this stream. */
  offset: number;
  /** Milliseconds before detected speech that belong to its turn. */
  padding: number;
  /** For the text of tokens with log-probabilities; null if these are not requested. */
  tokenizer: WhisperTokenizer | null;
}

export class Speech {
  readonly #settings: SpeechSettings;
  /** Ids of the items of open turns, by turn. */
  readonly #items = new Map<number, string>();
  /** Items that were committed before the first event of their turns, in order. */
  readonly #committed: string[] = [];
  /** Items of which text was sent already. Only an item's first delta loses its leading space. */
  readonly #started = new Set<string>();
  /** The item of the uncommitted audio, if the client ends turns. */
  #current: string | null = null;
  /** Samples since the last commit. */
  #buffered = 0;
  #samples = 0;
  /** Resolves once all events have been sent; rejects if the transcription fails. */
  readonly ended: Promise<void>;

  constructor(settings: SpeechSettings) {
    this.#settings = settings;
    this.ended = this.#forwardEvents();
    this.ended.catch(() => {});
  }

  /** Milliseconds of audio received. */
  get milliseconds(): number {
    return (1000 * this.#samples) / this.#settings.rate;
  }

  /** Milliseconds of audio that were neither committed nor cleared. */
  get buffered(): number {
    return (1000 * this.#buffered) / this.#settings.rate;
  }

  /** Accepts samples. Waits while too much audio is undecoded. */
  push(samples: Int16Array): void {
    const { live } = this.#settings;
    live.push(samples);
    this.#samples += samples.length;
    this.#buffered += samples.length;
  }

  /** Resolves at once if little audio is undecoded, else once most of it was decoded. */
  async caughtUp(): Promise<void> {
    const { live } = this.#settings;
    if (live.lag > pauseAt) while (live.lag > resumeAt) await live.drained();
  }

  /** Ends the current turn. Rejects with ApiError if less than 100 ms of audio are buffered. */
  async commit(): Promise<void> {
    const { live, manual } = this.#settings;
    if (this.buffered < minCommitted) {
      throw new ApiError(
        400,
        `Error committing input audio buffer: buffer too small. Expected at least ${minCommitted}ms of audio, but buffer only has ${this.buffered.toFixed(2)}ms of audio.`,
        { code: 'input_audio_buffer_commit_empty' },
      );
    }
    this.#buffered = 0;
    if (!manual) return this.#endDetectedTurn();
    this.#commitBuffer();
    live.flush().catch(() => {}); // `ended` reports a failure of the stream
  }

  /** Announces the item of the audio that the client, or the end of the session, commits. */
  #commitBuffer(): void {
    const item = this.#current ?? identifier('item');
    // If events of the turn were sent, they named its item already.
    if (this.#current === null) this.#committed.push(item);
    this.#current = null;
    this.#commit(item, this.#settings.conversation);
  }

  /** Ends a turn that the server has detected. If there is none, sends an item without text: a commit is answered. */
  async #endDetectedTurn(): Promise<void> {
    const { live, conversation, tokenizer } = this.#settings;
    const { last } = conversation;
    try {
      await live.flush();
    } catch {
      return; // `ended` reports a failure of the stream
    }
    // The turn's events are sent before.
    await setImmediate();
    if (conversation.last !== last) return;
    const item = identifier('item');
    this.#commit(item, conversation);
    conversation.send(completedEvent(item, '', 0, null, tokenizer && []));
  }

  /** Discards the uncommitted audio. */
  clear(): void {
    this.#settings.live.clear();
    this.#buffered = 0;
    this.#current = null;
    this.#settings.conversation.send({ type: 'input_audio_buffer.cleared' });
  }

  /** Stops accepting audio. Resolves once all events have been sent. */
  async finish(): Promise<void> {
    const { live, manual } = this.#settings;
    if (manual && this.#buffered > 0) this.#commitBuffer();
    await live.close();
    await this.ended;
  }

  #commit(item: string, conversation: Conversation): void {
    for (const event of committedEvents(item, conversation.last)) conversation.send(event);
    conversation.last = item;
  }

  async #forwardEvents(): Promise<void> {
    for await (const event of this.#settings.live) this.#sendEvents(event);
  }

  #itemOf(turn: number): string {
    const existing = this.#items.get(turn);
    if (existing !== undefined) return existing;
    const committed = this.#committed.shift();
    const item = committed ?? identifier('item');
    this.#items.set(turn, item);
    // The next commit uses this id.
    if (this.#settings.manual && committed === undefined) this.#current = item;
    return item;
  }

  #milliseconds(seconds: number): number {
    return Math.max(0, Math.round(this.#settings.offset + 1000 * seconds));
  }

  #sendEvents(event: LiveEvent): void {
    const { conversation, padding } = this.#settings;
    const { send } = conversation;
    if (event.type === 'lost') {
      const range = `${event.start.toFixed(1)} to ${event.end.toFixed(1)} s`;
      send(
        errorEvent(
          new ApiError(503, `Audio from ${range} was dropped, since the server is too slow.`, {
            code: 'audio_lost',
          }),
        ),
      );
      return;
    }
    const item = this.#itemOf(event.turn);
    switch (event.type) {
      case 'speech-started':
        send({
          type: 'input_audio_buffer.speech_started',
          audio_start_ms: Math.max(0, this.#milliseconds(event.start) - padding),
          item_id: item,
        });
        break;
      case 'speech-stopped':
        send({ type: 'input_audio_buffer.speech_stopped', audio_end_ms: this.#milliseconds(event.end), item_id: item });
        this.#commit(item, conversation);
        break;
      case 'confirmed': {
        const delta = this.#started.has(item) ? event.text : event.text.trimStart();
        this.#started.add(item);
        send(deltaEvent(item, delta, this.#logprobs(event)));
        break;
      }
      case 'final':
        send(completedEvent(item, event.text.trim(), event.end - event.start, event.language, this.#logprobs(event)));
        this.#endTurn(event.turn, item);
        break;
      case 'failed':
        send(failedEvent(item, event.error));
        this.#endTurn(event.turn, item);
    }
  }

  #logprobs(scores: TokenScores): TokenLogprob[] | null {
    const { tokenizer } = this.#settings;
    return tokenizer && tokenLogprobs(tokenizer, scores);
  }

  #endTurn(turn: number, item: string): void {
    this.#items.delete(turn);
    this.#started.delete(item);
  }
}
