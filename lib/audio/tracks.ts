/** The audio tracks of a container, and the choice of one. */
import { shown } from '../errors.js';
import { invalid } from './options.js';

/** An audio track of an MP4 or Matroska file, as the container describes it. */
export interface AudioTrack {
  /** Index among the audio tracks, from 0, as for the option `track`. */
  index: number;
  /** The container's name of the codec, such as 'mp4a' or 'A_OPUS'. */
  codec: string;
  /** A code, such as 'en'; null if the container does not state it. */
  language: string | null;
  title: string | null;
  channels: number | null;
  /** Hertz. */
  sampleRate: number | null;
  /** True if the container marks it as default. */
  default: boolean;
  /** True for the selected track. */
  chosen: boolean;
}

/** Facts of a container, known after its beginning was read. */
export interface Container {
  tracks: AudioTrack[];
  /** Seconds from the container's start to the start of the chosen track's audio. */
  start: number;
}

/** The shortest code of a language, such as 'de' for 'ger', 'deu' or 'de'; null if it is not a language. */
export function shortCode(language: string): string | null {
  try {
    const [code] = Intl.getCanonicalLocales(language.trim().replace(/_/g, '-'));
    return code === undefined || ['und', 'mul', 'zxx', 'mis'].includes(code) ? null : code;
  } catch {
    return null;
  }
}

const base = (code: string): string => code.split('-')[0];

/** True if a track's language is the wanted one, by code or English name. */
function speaks(language: string | null, wanted: string): boolean {
  if (language === null) return false;
  const code = shortCode(wanted);
  // 'pt-BR' matches exactly, 'pt' matches any variant.
  if (code !== null && (code === language || code === base(language))) return true;
  const name = new Intl.DisplayNames(['en'], { type: 'language' }).of(base(language));
  return name?.toLowerCase() === wanted.trim().toLowerCase();
}

const described = ({ index, language, title }: AudioTrack): string =>
  `${index}${language ? ` (${language})` : ''}${title ? ` ${shown(title, 30)}` : ''}`;

/**
 * The track with that index or language, or the container's default. Of several, the one with the most channels is
 * chosen, then the first, as in ffmpeg. Throws OneheadError INVALID_ARGUMENT if none matches.
 */
export function chooseTrack<T extends AudioTrack & { empty?: boolean }>(
  tracks: readonly T[],
  wanted: number | string | null,
  name: string,
): T | null {
  let candidates = tracks;
  if (typeof wanted === 'number') candidates = tracks.filter(({ index }) => index === wanted);
  else if (wanted !== null) candidates = tracks.filter(({ language }) => speaks(language, wanted));
  if (candidates.length === 0) {
    if (wanted === null) return null;
    const list = shown(tracks.map(described).join(', ') || 'none', 100);
    throw invalid('track', `${name} has no audio track ${shown(wanted, 40)}; there are: ${list}.`);
  }
  const score = (track: T) => (track.empty ? 0 : 1e6) + (track.default ? 1e3 : 0) + Math.min(track.channels ?? 0, 64);
  const best = candidates.reduce((one, other) => (score(other) > score(one) ? other : one));
  for (const track of tracks) track.chosen = track === best;
  return best;
}
