/** Describes a recording from its container, without decoding. */
import { OneheadError, reasonOf } from '../errors.js';
import { abortable, blocks, fileBytes } from './bytes.js';
import { tracksWithFfmpeg } from './ffmpeg.js';
import { detectFormat, headBytes, headDuration, isText, otherMedia } from './format.js';
import { indexFirst } from './mp4.js';
import { Damage } from './mp4-tables.js';
import { chooseMp4Track } from './mp4-tracks.js';
import { behind, peekBehindTags } from './tags.js';
import { type AudioTrack, type Container, chooseTrack } from './tracks.js';
import { chooseWebmTrack } from './webm-tracks.js';

export interface AudioDescription {
  /** The result of `detectFormat`, or a descriptive name: 'wav', 'm4a', 'AIFF'. */
  format: string;
  /** Seconds, null if the beginning does not contain it. */
  duration: number | null;
  /** Seconds between the container's start and the start of its audio. */
  start: number;
  /** The container's audio tracks; one of them is `chosen`. */
  tracks: AudioTrack[];
}

/** Throws OneheadError AUDIO_NOT_FOUND, AUDIO_INVALID, or INVALID_ARGUMENT if `track` does not exist. */
export async function describeAudio(
  path: string,
  signal: AbortSignal,
  track: number | string | null = null,
): Promise<AudioDescription> {
  const file = await fileBytes(path);
  const { head, rest, close, skipped } = await peekBehindTags(abortable(file.bytes, signal), headBytes);
  try {
    const source = behind(file, skipped);
    const format = detectFormat(head);
    const kind = format ?? otherMedia(head);
    if (kind === null && isText(head)) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${file.name} is text; name a recording, or a model's folder or hub name.`,
      );
    }
    const known: Container = { tracks: [], start: 0 };
    const onContainer = (container: Container) => void Object.assign(known, container);
    if (format === 'm4a' || format === 'webm') {
      const bytes =
        format === 'm4a'
          ? chooseMp4Track(indexFirst(rest, head, source, signal, 1 << 16), track, file.name, onContainer)
          : chooseWebmTrack(blocks(rest, 1 << 16), track, file.name, onContainer);
      await bytes.next().catch((cause: unknown) => {
        if (!(cause instanceof Damage)) throw cause;
        const sentence = `${file.name} looks like m4a but cannot be read (${reasonOf(cause)}); export it again.`;
        throw new OneheadError('AUDIO_INVALID', sentence, { cause });
      });
      await bytes.return(undefined);
    } else if (format === null) {
      known.tracks = await tracksWithFfmpeg(source.bytes, signal, source.path);
      chooseTrack(known.tracks, track, file.name);
    }
    const duration = headDuration(head, source.random?.size ?? null);
    return { format: kind ?? 'unknown', duration, ...known };
  } finally {
    await close();
  }
}
