/** Events that the server sends, with OpenAI's names and fields. */
import { randomUUID } from 'node:crypto';
import { asApiError } from '../service/api-error.js';
import type { TokenLogprob } from '../service/token-logprobs.js';

export type ServerEvent = { type: string } & Record<string, unknown>;
export type Send = (event: ServerEvent) => void;

/** A random identifier, such as 'item_' and 32 hexadecimal digits. */
export const identifier = (kind: 'event' | 'item' | 'sess'): string => `${kind}_${randomUUID().replaceAll('-', '')}`;

/** `clientEventId` is the id of the client event that caused the error. */
export function errorEvent(error: unknown, clientEventId: string | null = null): ServerEvent {
  const { type, code, message, param } = asApiError(error);
  return { type: 'error', error: { type, code, message, param, event_id: clientEventId } };
}

/** The events for audio that is added to the conversation as an item. Both arguments are ids of items. */
export function committedEvents(item: string, previous: string | null): ServerEvent[] {
  const content = [{ type: 'input_audio', transcript: null }];
  const added = { id: item, object: 'realtime.item', type: 'message', status: 'completed', role: 'user', content };
  return [
    { type: 'input_audio_buffer.committed', item_id: item, previous_item_id: previous },
    { type: 'conversation.item.added', previous_item_id: previous, item: added },
    { type: 'conversation.item.done', previous_item_id: previous, item: added },
  ];
}

const transcription = (kind: string, item: string, fields: object): ServerEvent => ({
  type: `conversation.item.input_audio_transcription.${kind}`,
  item_id: item,
  content_index: 0,
  ...fields,
});

/** The log-probabilities of a text, if requested. */
export type Logprobs = readonly TokenLogprob[] | null;

export const deltaEvent = (item: string, delta: string, logprobs: Logprobs): ServerEvent =>
  transcription('delta', item, { delta, ...(logprobs && { logprobs }) });

/** Reports `seconds` rounded up, as OpenAI does for whisper-1. */
export function completedEvent(
  item: string,
  transcript: string,
  seconds: number,
  language: string | null,
  logprobs: Logprobs,
): ServerEvent {
  const usage = { type: 'duration', seconds: Math.ceil(seconds) };
  const languages = language === null ? {} : { languages: [{ code: language }] };
  return transcription('completed', item, { transcript, usage, ...languages, ...(logprobs && { logprobs }) });
}

export function failedEvent(item: string, error: unknown): ServerEvent {
  const { type, code, message, param } = asApiError(error);
  return transcription('failed', item, { error: { type, code, message, param } });
}
