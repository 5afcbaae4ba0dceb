/** What ffmpeg writes to its log: the description of its input, and what is wrong with it. */
import type { Readable } from 'node:stream';
import { type AudioTrack, type Container, shortCode } from './tracks.js';
import { clock } from './warnings.js';

const channelCounts: Record<string, number> = { mono: 1, stereo: 2, quad: 4, '5.0': 5, '5.1': 6, '7.1': 8 };

/** The streams of sound in the description of an input: the number and the rest of the line of each. */
function audioStreams(text: string): RegExpMatchArray[] {
  const [input] = text.split(/^\[info\] (?:Stream mapping|Output #0)/m);
  return [...input.matchAll(/Stream #0:(\d+)(?:\[\w+\])?(?:\((\w+)\))?: Audio: (\w+)(.*)/g)];
}

/** The audio tracks in the description of an input. */
export function tracksOf(text: string): AudioTrack[] {
  return audioStreams(text).map(([, , language, codec, rest], index) => {
    const [, rate, layout] = /, (\d+) Hz, ([^,(]+)/.exec(rest) ?? [];
    const counted = /^(\d+) channels/.exec(layout ?? '')?.[1];
    return {
      index,
      codec,
      language: language ? shortCode(language) : null,
      title: null,
      channels: counted ? Number(counted) : (channelCounts[layout?.trim()] ?? null),
      sampleRate: rate ? Number(rate) : null,
      default: rest.includes('(default)'),
      chosen: false,
    };
  });
}

const mapping = /Stream mapping:\s+(?:\[info\]\s+)?Stream #0:(\d+) ->/;
/** Characters of the log that are kept, which hold the description of the input. */
const mostDescription = 1 << 16;
const mostLine = 2000;
/** A longer recording is not believed. */
const mostSeconds = 3_600_000;

/** Lines on sound that could not be decoded, whatever its container says. Their wording is that of ffmpeg 4 to 8. */
const lostFrame = /Error while decoding stream|Error submitting packet to decoder|corrupt decoded frame/;
/** Lines on damaged packets, with the number of their stream. */
const lostPacket = /Packet corrupt \(stream = (\d+)|corrupt input packet in stream (\d+)/;
/** Lines on an input that ends too early, which some containers write as warnings. */
const endsEarly = /truncat|prematurely|unexpected end/i;

export class FfmpegLog {
  /** Resolves when the input and what is taken of it are described, or nothing more will be. */
  readonly described: Promise<void>;
  /** The last sentence on what is wrong. */
  complaint = '';
  noSuchTrack = false;
  /** The beginning of the log, with the description of the input. */
  #description = '';
  #isMapped = false;
  /** The first lines on a lost frame; on a damaged packet of each stream; and on trouble with the container. */
  #frame: string | null = null;
  readonly #packets = new Map<string, string>();
  #trouble: string | null = null;

  /** Reads the log line by line, however it is cut into pieces on its way. */
  constructor(stderr: Readable) {
    let resolve = () => {};
    this.described = new Promise<void>((done) => {
      resolve = done;
    });
    let rest = '';
    const take = (line: string) => {
      this.#take(line);
      if (this.#isMapped || this.#description.length >= mostDescription) resolve();
    };
    stderr.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(0, mostLine);
      for (const line of lines) take(line.slice(0, mostLine));
    });
    stderr.once('close', () => {
      if (rest !== '') take(rest);
      resolve();
    });
  }

  #take(line: string): void {
    if (this.#description.length < mostDescription) this.#description += `${line}\n`;
    const [, source, level, sentence] =
      /^(?:\[([^\]@]+) @ [^\]]*\] )*\[(warning|error|fatal|panic)\] *(.*)/.exec(line) ?? [];
    if (sentence !== undefined) this.#judge(source, level, sentence);
    if (sentence !== undefined && level !== 'warning') {
      this.complaint = sentence;
      this.noSuchTrack ||= /matches no streams/.test(sentence);
    }
    // A line without a mark goes on with one before, or is not ffmpeg's: the system could not load it, or a shell could
    // not run it.
    else if (/^[^\s[]/.test(line)) this.complaint ||= line;
    this.#isMapped ||= mapping.test(this.#description);
  }

  /** Notes what speaks for lost sound. `source` names the part of ffmpeg that writes, such as a container or codec. */
  #judge(source: string | undefined, level: string, sentence: string): void {
    const packet = lostPacket.exec(sentence);
    if (packet) {
      const stream = packet[1] ?? packet[2];
      if (!this.#packets.has(stream)) this.#packets.set(stream, sentence);
    } else if (lostFrame.test(sentence)) this.#frame ??= sentence;
    else if (this.#isMapped && (level !== 'warning' || endsEarly.test(sentence))) {
      // What codecs write on the way counts only where it costs a frame.
      if (source === undefined || /^in#/.test(source) || this.#isContainer(source)) this.#trouble ??= sentence;
    }
  }

  #isContainer(source: string): boolean {
    return this.#description.includes(`Input #0, ${source}, from`);
  }

  /** The number of the stream that is decoded; undefined where the log does not say. */
  get #stream(): string | undefined {
    return mapping.exec(this.#description)?.[1];
  }

  /** The container's tracks; without a `track`, the log tells which one ffmpeg takes. */
  container(track: number | null): Container {
    const tracks = tracksOf(this.#description);
    const index = track ?? audioStreams(this.#description).findIndex(([, stream]) => stream === this.#stream);
    return { tracks: tracks.map((one) => ({ ...one, chosen: one.index === index })), start: 0 };
  }

  /** The seconds that the input says it lasts; null where it does not, or where ffmpeg computed them from its size. */
  get #declared(): number | null {
    if (this.#description.includes('Estimating duration from bitrate')) return null;
    const [, hours, minutes, seconds] = /^\[info\] +Duration: (\d+):(\d+):([\d.]+)/m.exec(this.#description) ?? [];
    const declared = 3600 * Number(hours) + 60 * Number(minutes) + Number(seconds);
    // Recorders that cannot go back to their header leave the highest number there.
    return declared < mostSeconds ? declared : null;
  }

  /**
   * The end of a sentence on what was lost of a recording of which `decoded` seconds were read, or null. `most`: the
   * seconds that were asked for.
   */
  loss(decoded: number, track: number | null, most: number): string | null {
    const streams = audioStreams(this.#description);
    const [, stream, , codec] = streams[track ?? -1] ?? streams.find(([, one]) => one === this.#stream) ?? [];
    const packet = stream === undefined ? [...this.#packets.values()][0] : this.#packets.get(stream);
    const says = (line: string) => `ffmpeg says "${line.replace(/^.*: (?=corrupt)/, '').slice(0, 120)}"`;
    const declared = this.#declared;
    const wanted = declared === null ? null : Math.min(declared, most);
    // Containers round their times, and codecs add and drop some at both ends. Plain samples are counted exactly.
    const tolerance = codec?.startsWith('pcm_') ? 0.1 : 0.5 + 0.001 * (wanted ?? 0);
    const isShort = wanted !== null && wanted - decoded > tolerance;
    // A container's time is that of its longest stream.
    const isAlone = streams.length === 1 && !/Stream #0:\d+[^\n]*: Video:/.test(this.#description);
    if (isShort && isAlone) {
      return `could not be read from ${clock(decoded)} on: it says that it lasts ${clock(wanted)}; its end is missing.`;
    }
    const damage = packet ?? this.#frame;
    if (damage) return `is damaged or cut short, and a part of it is missing: ${says(damage)}.`;
    if (this.#trouble && (wanted === null || isShort)) {
      return `could not be read from ${clock(decoded)} on: ${says(this.#trouble)}.`;
    }
    return null;
  }
}
