/**
 * One request's work: its model, its recording, its text; begun as soon as the fields are known, and again where they
 * change.
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
  /** The model's own name. */
  id: string;
  asked: AudioRequest;
  result: Transcription;
  /** Present if requested. */
  logprobs?: TokenLogprob[];
  /** Of a stream: token counts. */
  usage?: object;
}

export interface WorkEvents {
  /** For a stream: called with new text. All pieces joined are the result's text. */
  onText?: (text: string) => void;
  /** Without a stream: called when a window is done. */
  onWindow?: (segments: readonly Segment[]) => void;
  /** For a stream: true if text was sent, which cannot be taken back. */
  sent?: () => boolean;
}

/** The fields that determine the text. */
const decisive = ({ model, options, stream }: AudioRequest) => ({ model, options, stream });

/**
 * Transcribes a form's file. Where the file came last, it is decoded while it comes; fields behind it that change what
 * was asked for begin the work again from what was kept of it. Null where they turn out to ask for a stream. Rejects
 * with ApiError and OneheadError.
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
          'Fields that change the text came behind the file, when some of it had been sent; send the file last.',
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
      // Most of what a server is sent is short.
      audioContext: 'fit',
      ...options.transcribe,
      maxBytes: options.maxBytes,
      maxDuration: options.maxDuration,
      timeout: options.timeout * 1000,
      ...asked.options,
      // Windows that are decoded at once cannot be told what comes before them.
      ...(asked.options.batched && { conditionOnPreviousText: false }),
      signal,
      ...(priority && { priority }),
      // The first window is decoded as soon as it is there, whatever comes behind it.
      lookAhead: 0,
      // Text that is given out must stay, which a window that is searched again may have to make the best of.
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
