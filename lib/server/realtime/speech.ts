/** One stream of a session's audio: takes samples and sends events. A new configuration replaces it by another one. */
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
/** Minimum milliseconds of audio in a commit. */
const minCommitted = 100;

/** State shared by the streams of a session. */
export interface Conversation {
  send: Send;
  /** The last item. */
  last: string | null;
}

export interface SpeechParts {
  live: LiveTranscription;
  conversation: Conversation;
  /** True if the client ends turns. */
  manual: boolean;
  /** Hertz of the samples. */
  rate: number;
  /** Milliseconds of the session's audio before this stream. */
  offset: number;
  /** Milliseconds before speech that belong to its turn. */
  padding: number;
  /** Decodes tokens of log-probabilities; null if these are not requested. */
  tokenizer: WhisperTokenizer | null;
}

export class Speech {
  readonly #parts: SpeechParts;
  /** Items of open turns. */
  readonly #items = new Map<number, string>();
  /** Items that were committed before any event of their turns, in order. */
  readonly #committed: string[] = [];
  /** Items for which text was sent: the first delta has no leading space. */
  readonly #begun = new Set<string>();
  /** The item of the buffered audio, if the client ends turns. */
  #current: string | null = null;
  /** Samples since the last commit. */
  #buffered = 0;
  #samples = 0;
  /** Resolves when all events were sent; rejects if the stream fails. */
  readonly ended: Promise<void>;

  constructor(parts: SpeechParts) {
    this.#parts = parts;
    this.ended = this.#pump();
    this.ended.catch(() => {});
  }

  /** Milliseconds of audio received. */
  get milliseconds(): number {
    return (1000 * this.#samples) / this.#parts.rate;
  }

  /** Milliseconds that were neither committed nor cleared. */
  get buffered(): number {
    return (1000 * this.#buffered) / this.#parts.rate;
  }

  /** Takes samples; waits while too much audio is undecoded. */
  async push(samples: Int16Array): Promise<void> {
    const { live } = this.#parts;
    live.push(samples);
    this.#samples += samples.length;
    this.#buffered += samples.length;
    if (live.lag > pauseAt) while (live.lag > resumeAt) await live.drained();
  }

  /** Ends the current turn. Throws ApiError if there is none. */
  commit(): void {
    const { live, conversation, manual } = this.#parts;
    if (this.buffered < minCommitted) {
      throw new ApiError(
        400,
        `Error committing input audio buffer: buffer too small. Expected at least ${minCommitted}ms of audio, but buffer only has ${this.buffered.toFixed(2)}ms of audio.`,
        { code: 'input_audio_buffer_commit_empty' },
      );
    }
    this.#buffered = 0;
    if (manual) {
      const item = this.#current ?? identifier('item');
      // Events of its turn may have been sent already.
      if (this.#current === null) this.#committed.push(item);
      this.#current = null;
      this.#commit(item, conversation);
    }
    live.flush().catch(() => {}); // what ends the stream is told where its events end
  }

  clear(): void {
    this.#parts.live.clear();
    this.#buffered = 0;
    this.#current = null;
    this.#parts.conversation.send({ type: 'input_audio_buffer.cleared' });
  }

  /** Takes no more audio; resolves when all events were sent. */
  async finish(): Promise<void> {
    await this.#parts.live.close();
    await this.ended;
  }

  #commit(item: string, conversation: Conversation): void {
    for (const event of committedEvents(item, conversation.last)) conversation.send(event);
    conversation.last = item;
  }

  async #pump(): Promise<void> {
    for await (const event of this.#parts.live) this.#sendEvents(event);
  }

  #itemOf(turn: number): string {
    const known = this.#items.get(turn);
    if (known !== undefined) return known;
    const committed = this.#committed.shift();
    const item = committed ?? identifier('item');
    this.#items.set(turn, item);
    // Audio before a commit will be committed under this name.
    if (this.#parts.manual && committed === undefined) this.#current = item;
    return item;
  }

  #milliseconds(seconds: number): number {
    return Math.max(0, Math.round(this.#parts.offset + 1000 * seconds));
  }

  #sendEvents(event: LiveEvent): void {
    const { conversation, padding } = this.#parts;
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
        const delta = this.#begun.has(item) ? event.text : event.text.trimStart();
        this.#begun.add(item);
        send(deltaEvent(item, delta, this.#logprobs(event)));
        break;
      }
      case 'final':
        send(completedEvent(item, event.text.trim(), event.end - event.start, event.language, this.#logprobs(event)));
        this.#forget(event.turn, item);
        break;
      case 'failed':
        send(failedEvent(item, event.error));
        this.#forget(event.turn, item);
    }
  }

  #logprobs(scores: TokenScores): TokenLogprob[] | null {
    const { tokenizer } = this.#parts;
    return tokenizer && tokenLogprobs(tokenizer, scores);
  }

  #forget(turn: number, item: string): void {
    this.#items.delete(turn);
    this.#begun.delete(item);
  }
}
