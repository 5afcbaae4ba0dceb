/** Transcribes the file of a form. This starts before the whole form has arrived, and restarts if its fields change. */
import { isDeepStrictEqual } from 'node:util';
import type { TranscribeOptions } from '../../whisper/transcription/options.js';
import type { Segment, Transcription } from '../../whisper/transcription/types.js';
import { badField } from '../service/api-error.js';
import type { Service } from '../service/service.js';
import type { TokenLogprob } from '../service/token-logprobs.js';
import type { AudioRequest } from './fields.js';
import type { Form } from './form.js';
import { logprobsOf, tokenUsage } from './tokens.js';

export interface FormTranscription {
  /** The model's id. */
  id: string;
  request: AudioRequest;
  result: Transcription;
  /** Present if requested. */
  logprobs?: TokenLogprob[];
  /** Token counts, for a stream. */
  usage?: object;
}

export interface TranscriptionCallbacks {
  /** For a stream: called with new text. All texts together are the result's text. */
  onText?: (text: string) => void;
  /** Without a stream: called after each window. */
  onWindow?: (segments: readonly Segment[]) => void;
  /** For a stream: returns true if text was already sent, so that no restart is possible. */
  hasSent?: () => boolean;
}

/** The fields that determine the text: a change of these requires a restart. */
const relevantFields = ({ model, options, stream }: AudioRequest) => ({ model, options, stream });

/**
 * Transcribes the file of a form while it arrives. Fields after the file that change the request restart this with the
 * stored upload. `readRequest` validates the fields so far. Resolves to null if the fields request a stream, but
 * `callbacks` are not for one. Rejects with ApiError and OneheadError.
 */
export async function transcribeForm(
  service: Service,
  form: Form,
  readRequest: () => AudioRequest,
  { signal, priority }: Pick<TranscribeOptions, 'priority'> & { signal: AbortSignal },
  callbacks: TranscriptionCallbacks = {},
): Promise<FormTranscription | null> {
  await form.fileBegun;
  const early = !form.complete && form.file && form.fields.has('model') ? readRequest() : null;
  if (early) {
    const restart = new AbortController();
    const earlySignal = AbortSignal.any([signal, restart.signal]);
    const work = transcribeOnce(service, form, early, { signal: earlySignal, priority }, callbacks);
    work.catch(() => {}); // awaited below, or aborted
    try {
      // An error of the transcription is reported at once, even if the upload continues.
      await Promise.race([form.ended, work.then(() => form.ended)]);
      const request = readRequest();
      if (isDeepStrictEqual(relevantFields(request), relevantFields(early))) return { request, ...(await work) };
      if (request.stream && !early.stream) return null;
      if (callbacks.hasSent?.()) {
        throw badField(
          'file',
          'Fields after the file changed the request when part of the text had already been sent; send the file last.',
        );
      }
    } finally {
      restart.abort();
      await work.catch(() => {});
    }
  }
  await form.ended;
  const request = readRequest();
  if (request.stream && !callbacks.hasSent) return null;
  if (!form.file) {
    const message = "The request has no recording; send one as a file in the field 'file'.";
    throw badField('file', message, 'missing_required_parameter');
  }
  return { request, ...(await transcribeOnce(service, form, request, { signal, priority }, callbacks)) };
}

async function transcribeOnce(
  service: Service,
  { file }: Form,
  request: AudioRequest,
  { signal, priority }: Pick<TranscribeOptions, 'priority'> & { signal: AbortSignal },
  { onText, onWindow }: TranscriptionCallbacks,
): Promise<Omit<FormTranscription, 'request'>> {
  const { options } = service;
  const { id, whisper, release } = await service.models.acquire(request.model, signal);
  try {
    service.admit(whisper, priority ?? undefined);
    const result = await whisper.transcribe(file!.input(), {
      // Most uploads are short, so this saves much of the encoder's time.
      audioContext: 'fit',
      ...options.transcribe,
      maxBytes: options.maxBytes,
      maxDuration: options.maxDuration,
      timeout: options.timeout,
      ...request.options,
      // Windows that are decoded in parallel cannot use the text of previous ones.
      ...((request.options.batched ?? options.transcribe?.batched) && { conditionOnPreviousText: false }),
      signal,
      ...(priority && { priority }),
      // A window is decoded as soon as it has arrived.
      lookAhead: 0,
      // Text that was sent cannot be changed, so a stream uses onText, whose pieces are final.
      ...(request.stream ? { onText } : { onProgress: ({ segments }) => onWindow?.(segments) }),
    });
    return {
      id,
      result,
      ...(request.logprobs && { logprobs: await logprobsOf(result, whisper) }),
      ...(request.stream && { usage: await tokenUsage(result, request, whisper) }),
    };
  } finally {
    release();
  }
}
