/**
 * The work of one request: model, recording, text. It starts once the fields are known, and restarts if they change.
 */
import { isDeepStrictEqual } from 'node:util';
import type { TranscribeOptions } from '../../whisper/transcription/options.js';
import type { Segment, Transcription } from '../../whisper/transcription/types.js';
import { badField } from '../service/api-error.js';
import type { Service } from '../service/service.js';
import type { TokenLogprob } from '../service/token-logprobs.js';
import type { AudioRequest } from './fields.js';
import type { Form } from './form.js';
import { logprobsOf, tokenUsage } from './tokens.js';

export interface Work {
  /** The model's id. */
  id: string;
  asked: AudioRequest;
  result: Transcription;
  /** Present if requested. */
  logprobs?: TokenLogprob[];
  /** For a stream: token counts. */
  usage?: object;
}

export interface WorkEvents {
  /** For a stream: called with new text. All pieces together are the result's text. */
  onText?: (text: string) => void;
  /** Without a stream: called when a window is done. */
  onWindow?: (segments: readonly Segment[]) => void;
  /** For a stream: true if text was sent, which cannot be taken back. */
  sent?: () => boolean;
}

/** The fields that determine the text. */
const decisive = ({ model, options, stream }: AudioRequest) => ({ model, options, stream });

/**
 * Transcribes the file of a form. If the file comes last, it is decoded while it arrives. Fields after the file that
 * change the request restart the work on the stored upload. Returns null if they request a stream. Rejects with
 * ApiError and OneheadError.
 */
export async function transcribeForm(
  service: Service,
  form: Form,
  read: () => AudioRequest,
  { signal, priority }: Pick<TranscribeOptions, 'priority'> & { signal: AbortSignal },
  events: WorkEvents = {},
): Promise<Work | null> {
  await form.begun;
  const early = !form.complete && form.file && form.fields.has('model') ? read() : null;
  if (early) {
    const given = new AbortController();
    const both = AbortSignal.any([signal, given.signal]);
    const work = transcribeOnce(service, form, early, { signal: both, priority }, events);
    work.catch(() => {}); // told below, or given up
    try {
      // Errors are reported before the rest of the upload has arrived.
      await Promise.race([form.ended, work.then(() => form.ended)]);
      const asked = read();
      if (isDeepStrictEqual(decisive(asked), decisive(early))) return { asked, ...(await work) };
      if (asked.stream && !early.stream) return null;
      if (events.sent?.()) {
        throw badField(
          'file',
          'Fields that change the text came after the file, when part of the text had been sent; send the file last.',
        );
      }
    } finally {
      given.abort();
      await work.catch(() => {});
    }
  }
  await form.ended;
  const asked = read();
  if (asked.stream && !events.sent) return null;
  if (!form.file)
    throw badField('file', 'Expected a recording in the field file, but there is none.', 'missing_required_parameter');
  return { asked, ...(await transcribeOnce(service, form, asked, { signal, priority }, events)) };
}

async function transcribeOnce(
  service: Service,
  { file }: Form,
  asked: AudioRequest,
  { signal, priority }: Pick<TranscribeOptions, 'priority'> & { signal: AbortSignal },
  { onText, onWindow }: WorkEvents,
): Promise<Omit<Work, 'asked'>> {
  const { options } = service;
  const { id, whisper, release } = await service.models.acquire(asked.model, signal);
  try {
    service.admit(whisper);
    const result = await whisper.transcribe(file!.input(), {
      // Most uploads are short.
      audioContext: 'fit',
      ...options.transcribe,
      maxBytes: options.maxBytes,
      maxDuration: options.maxDuration,
      timeout: options.timeout * 1000,
      ...asked.options,
      // Windows decoded at once cannot use the text of previous ones.
      ...(asked.options.batched && { conditionOnPreviousText: false }),
      signal,
      ...(priority && { priority }),
      // The first window is decoded as soon as it has arrived.
      lookAhead: 0,
      // Sent text is final, so a window that is decoded again has to continue it.
      ...(asked.stream ? { onText } : { onProgress: ({ segments }) => onWindow?.(segments) }),
    });
    return {
      id,
      result,
      ...(asked.logprobs && { logprobs: await logprobsOf(result, whisper) }),
      ...(asked.stream && { usage: await tokenUsage(result, asked, whisper) }),
    };
  } finally {
    release();
  }
}
