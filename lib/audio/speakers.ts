/** The loudspeakers for which a recording's channels are meant, and their shares in a mix to one channel. */

export type Speaker = 'FL' | 'FR' | 'FC' | 'LFE' | 'BL' | 'BR' | 'FLC' | 'FRC' | 'BC' | 'SL' | 'SR' | 'other';
/** One for each channel. */
export type Speakers = readonly Speaker[];

/** By the bits of a WAVE channel mask. Later bits are loudspeakers above the listener. */
const maskBits: Speakers = ['FL', 'FR', 'FC', 'LFE', 'BL', 'BR', 'FLC', 'FRC', 'BC', 'SL', 'SR'];

/** The speakers of a WAVE channel mask; undefined if it does not name all channels. */
export function maskSpeakers(mask: number, channels: number): Speakers | undefined {
  const bits = Array.from({ length: 32 }, (_, bit) => bit).filter((bit) => (mask >>> bit) & 1);
  return bits.length === channels ? bits.map((bit) => maskBits[bit] ?? 'other') : undefined;
}

/** FLAC without a mask, by the number of channels (RFC 9639, section 9.1.3). */
const flac: Record<number, Speakers> = {
  3: ['FL', 'FR', 'FC'],
  4: ['FL', 'FR', 'BL', 'BR'],
  5: ['FL', 'FR', 'FC', 'BL', 'BR'],
  6: ['FL', 'FR', 'FC', 'LFE', 'BL', 'BR'],
  7: ['FL', 'FR', 'FC', 'LFE', 'BC', 'SL', 'SR'],
  8: ['FL', 'FR', 'FC', 'LFE', 'BL', 'BR', 'SL', 'SR'],
};
/** Vorbis, and Opus with mapping family 1 (RFC 7845, section 5.1.1.2). */
const vorbis: Record<number, Speakers> = {
  3: ['FL', 'FC', 'FR'],
  4: ['FL', 'FR', 'BL', 'BR'],
  5: ['FL', 'FC', 'FR', 'BL', 'BR'],
  6: ['FL', 'FC', 'FR', 'BL', 'BR', 'LFE'],
  7: ['FL', 'FC', 'FR', 'SL', 'SR', 'BC', 'LFE'],
  8: ['FL', 'FC', 'FR', 'SL', 'SR', 'BL', 'BR', 'LFE'],
};

export const flacSpeakers = (channels: number, mask: number | null = null): Speakers | undefined =>
  mask === null ? flac[channels] : maskSpeakers(mask, channels);
export const vorbisSpeakers = (channels: number): Speakers | undefined => vorbis[channels];

/**
 * The share of each channel in a mix, as with ffmpeg's `-ac 1`: the front pair and the speakers beside the centre 3 dB
 * below the centre, those behind and at the sides 6 dB, and nothing of the channel for low frequencies (LFE). Null if
 * the shares are equal.
 */
export function sharesOf(speakers: Speakers): number[] | null {
  const levels = speakers.map((speaker) => {
    if (speaker === 'LFE') return 0;
    if (speaker === 'FC') return 1;
    return ['FL', 'FR', 'FLC', 'FRC'].includes(speaker) ? Math.SQRT1_2 : 0.5;
  });
  if (levels.every((level) => level === levels[0])) return null;
  const sum = Math.max(
    1,
    levels.reduce((a, b) => a + b, 0),
  );
  return levels.map((level) => level / sum);
}
