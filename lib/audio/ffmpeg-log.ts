/** Parses ffmpeg's log: the description of the input, and errors in it. */
import type { Readable } from 'node:stream';
import { type AudioTrack, type Container, shortCode } from './tracks.js';
import { clock } from './warnings.js';

const channelCounts: Record<string, number> = { mono: 1, stereo: 2, quad: 4, '5.0': 5, '5.1': 6, '7.1': 8 };

/**
 * The audio streams in the description of an input: for each, a match with number, language, codec and rest of line.
 */
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

/** The two lines that name the stream that is decoded. */
const mappingHead = /Stream mapping:\s*$/;
const mappingLine = /^(?:\[info\])?\s*Stream #0:(\d+) ->/;
/** Maximum number of characters of the log that are kept; they contain the description of the input. */
const maxDescriptionLength = 1 << 16;
const maxLineLength = 2000;
/** A longer stated duration is ignored. */
const maxPlausibleSeconds = 3_600_000;

/** Messages about audio that could not be decoded, in the wording of ffmpeg 4 to 8. */
const lostFrame = /Error while decoding stream|Error submitting packet to decoder|corrupt decoded frame/;
/** Messages about damaged packets, with the number of the stream. */
const lostPacket = /Packet corrupt \(stream = (\d+)|corrupt input packet in stream (\d+)/;
/** Messages about an input that ends too early, which some demuxers write as warnings. */
const endsEarly = /truncat|prematurely|unexpected end/i;

export class FfmpegLog {
  /** Resolves when the log has described the input and the selected streams, or has ended. */
  readonly described: Promise<void>;
  /** The last error message. */
  complaint = '';
  noSuchTrack = false;
  /** The beginning of the log, with the description of the input. */
  #description = '';
  /** The input's container, as messages about it name it. */
  #inputFormat: string | undefined;
  #lastLine = '';
  /** The number of the stream that is decoded; undefined before or unless the log says it. */
  #stream: string | undefined;
  /** The first messages about a lost frame, about a damaged packet of each stream, and about the container. */
  #frame: string | null = null;
  readonly #packets = new Map<string, string>();
  #trouble: string | null = null;

  /** Reads the log line by line. */
  constructor(stderr: Readable) {
    let resolve = () => {};
    this.described = new Promise<void>((done) => {
      resolve = done;
    });
    let rest = '';
    const take = (line: string) => {
      this.#take(line);
      if (this.#stream !== undefined || this.#description.length >= maxDescriptionLength) resolve();
    };
    stderr.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(0, maxLineLength);
      for (const line of lines) take(line.slice(0, maxLineLength));
    });
    stderr.once('close', () => {
      if (rest !== '') take(rest);
      resolve();
    });
  }

  #take(line: string): void {
    if (this.#description.length < maxDescriptionLength) this.#description += `${line}\n`;
    const [, source, level, sentence] =
      /^(?:\[([^\]@]+) @ [^\]]*\] )*\[(warning|error|fatal|panic)\] *(.*)/.exec(line) ?? [];
    if (sentence !== undefined) this.#judge(source, level, sentence);
    if (sentence !== undefined && level !== 'warning') {
      this.complaint = sentence;
      this.noSuchTrack ||= /matches no streams/.test(sentence);
    }
    // A line without a level continues the previous one, or comes from the system or shell that could not start ffmpeg.
    else if (/^[^\s[]/.test(line)) this.complaint ||= line;
    this.#inputFormat ??= /Input #0, (.*?), from/.exec(line)?.[1];
    if (mappingHead.test(this.#lastLine)) this.#stream ??= mappingLine.exec(line)?.[1];
    this.#lastLine = line;
  }

  /**
   * Keeps messages that indicate lost audio. `source` is the part of ffmpeg that wrote it, such as a demuxer or codec.
   */
  #judge(source: string | undefined, level: string, sentence: string): void {
    const packet = lostPacket.exec(sentence);
    if (packet) {
      const stream = packet[1] ?? packet[2];
      if (!this.#packets.has(stream)) this.#packets.set(stream, sentence);
    } else if (lostFrame.test(sentence)) this.#frame ??= sentence;
    else if (this.#stream !== undefined && (level !== 'warning' || endsEarly.test(sentence))) {
      // A codec's other messages do not count: they matter only if a frame is lost.
      if (source === undefined || /^in#/.test(source) || source === this.#inputFormat) this.#trouble ??= sentence;
    }
  }

  /** The container's tracks; without a `track`, the chosen one is taken from the log. */
  container(track: number | null): Container {
    const tracks = tracksOf(this.#description);
    const index = track ?? audioStreams(this.#description).findIndex(([, stream]) => stream === this.#stream);
    return { tracks: tracks.map((one) => ({ ...one, chosen: one.index === index })), start: 0 };
  }

  /** The input's stated duration in seconds; null if there is none, or if ffmpeg estimated it from the size. */
  get #declared(): number | null {
    if (this.#description.includes('Estimating duration from bitrate')) return null;
    const [, hours, minutes, seconds] = /^\[info\] +Duration: (\d+):(\d+):([\d.]+)/m.exec(this.#description) ?? [];
    const declared = 3600 * Number(hours) + 60 * Number(minutes) + Number(seconds);
    // Recorders that cannot seek back to the header leave the highest number there.
    return declared < maxPlausibleSeconds ? declared : null;
  }

  /**
   * The end of a sentence about lost audio in a recording of which `decoded` seconds were read; null if nothing was
   * lost. `requested`: the maximum number of seconds to decode.
   */
  loss(decoded: number, track: number | null, requested: number): string | null {
    const streams = audioStreams(this.#description);
    const [, stream, , codec] = streams[track ?? -1] ?? streams.find(([, one]) => one === this.#stream) ?? [];
    const packet = stream === undefined ? [...this.#packets.values()][0] : this.#packets.get(stream);
    const quoted = (line: string) => `ffmpeg reports "${line.replace(/^.*: (?=corrupt)/, '').slice(0, 120)}"`;
    const declared = this.#declared;
    const wanted = declared === null ? null : Math.min(declared, requested);
    // Containers round their times, and codecs add and drop some samples at both ends. PCM is exact.
    const tolerance = codec?.startsWith('pcm_') ? 0.1 : 0.5 + 0.001 * (wanted ?? 0);
    const isShort = wanted !== null && wanted - decoded > tolerance;
    // A container's time is that of its longest stream.
    const isAlone = streams.length === 1 && !/Stream #0:\d+[^\n]*: Video:/.test(this.#description);
    if (isShort && isAlone) {
      return `could not be read from ${clock(decoded)} on: its stated duration is ${clock(wanted)}; its end is missing.`;
    }
    const damage = packet ?? this.#frame;
    if (damage) return `is damaged or cut short, and a part of it is missing: ${quoted(damage)}.`;
    if (this.#trouble && (wanted === null || isShort)) {
      return `could not be read from ${clock(decoded)} on: ${quoted(this.#trouble)}.`;
    }
    return null;
  }
}
