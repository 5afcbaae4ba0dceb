/**
 * Decoders of single packets from containers. Their libraries are imported on demand, since they cannot be required.
 */
import { aacDecoder } from './aac-decoders.js';
import { mp3Decoders, vorbisCore, vorbisDecoders } from './decoders.js';
import { FlacFrames } from './flac.js';
import { crc16, flacHeader } from './flac-frames.js';
import { hasLetters } from './letters.js';
import { mp3Header } from './mpeg.js';
import { quiet } from './quiet.js';
import { flacSpeakers, vorbisSpeakers } from './speakers.js';
import type { DecodedChunk } from './wav.js';

export interface PacketDecoder {
  /** The samples of a packet: none if they come with a later packet, null if it cannot be decoded. */
  decode(packet: Uint8Array): Promise<DecodedChunk | null>;
  /** The samples that a packet lasts and their rate, as far as this and earlier packets show. */
  length(packet: Uint8Array): { samples: number; sampleRate: number };
  free(): void;
}

const none: DecodedChunk = { channels: [], sampleRate: 0 };

/** Treats an exception in a decoder as a packet that cannot be decoded. */
function attempt<T>(work: () => T): T | null {
  try {
    return work();
  } catch {
    return null;
  }
}

/** Samples of an Opus packet at 48,000 Hz (RFC 6716, section 3.1); 0 if it is invalid. */
function opusSamples(packet: Uint8Array): number {
  if (packet.length === 0) return 0;
  const [config, code] = [packet[0] >> 3, packet[0] & 3];
  const frame =
    config < 12 ? [480, 960, 1920, 2880][config & 3] : config < 16 ? [480, 960][config & 1] : 120 << (config & 3);
  const count = code === 0 ? 1 : code < 3 ? 2 : (packet[1] ?? 0) & 63;
  const samples = frame * count;
  return samples <= 5760 ? samples : 0;
}

export interface OpusHead {
  channels: number;
  /** Samples at 48,000 Hz to skip at the beginning. */
  preSkip: number;
}

/** Opens an Opus decoder for an OpusHead (RFC 7845, section 5.1). Throws if it is invalid. */
export async function openOpus(head: Uint8Array): Promise<PacketDecoder & { head: OpusHead }> {
  if (!hasLetters(head, 0, 'OpusHead') || head.length < 19) throw new Error('its OpusHead is damaged');
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const [channels, family] = [head[9], head[18]];
  const layout =
    family === 0
      ? { channels }
      : {
          channels,
          streamCount: head[19],
          coupledStreamCount: head[20],
          channelMappingTable: [...head.subarray(21, 21 + channels)],
        };
  const { createOpusDecoder } = await import('@audio/decode-opus/core');
  const decoder = await createOpusDecoder();
  // The container handles the parts to skip at both ends.
  decoder.configure({ ...layout, sampleRate: 48_000, preSkip: 0, outputGain: view.getInt16(16, true) });
  return {
    head: { channels, preSkip: view.getUint16(10, true) },
    length: (packet) => ({ samples: opusSamples(packet), sampleRate: 48_000 }),
    decode: async (packet) => {
      const result = attempt(() => quiet(() => decoder.decodeFrames([packet])));
      if (!result || result.errors.length > 0 || result.samplesDecoded === 0) return null;
      // Other families than 1 have no order of speakers.
      const speakers = family === 1 ? vorbisSpeakers(channels) : undefined;
      return { channels: result.channelData, sampleRate: 48_000, speakers };
    },
    free: () => decoder.free(),
  };
}

/** Opens a Vorbis decoder for its first and third header. */
export async function openVorbis(identification: Uint8Array, setup: Uint8Array): Promise<PacketDecoder> {
  const lent = await vorbisDecoders.borrow();
  let last = 0;
  const sampleRate = new DataView(identification.buffer, identification.byteOffset).getUint32(12, true);
  const opened = attempt(() =>
    lent.call((decoder) => {
      const core = vorbisCore(decoder);
      core.sendSetupHeader(identification);
      core.sendSetupHeader(setup);
      core.initDsp();
      return true;
    }),
  );
  if (!opened) throw new Error('its Vorbis headers are damaged');
  return {
    length: () => ({ samples: last, sampleRate }),
    decode: async (packet) => {
      const result = attempt(() => lent.call((decoder) => vorbisCore(decoder).decodePackets([packet])));
      if (!result) return null;
      if (result.samplesDecoded === 0) return none;
      last = result.samplesDecoded;
      const { channelData: channels, sampleRate: rate } = result;
      return { channels, sampleRate: rate, speakers: vorbisSpeakers(channels.length) };
    },
    free: () => lent.free(),
  };
}

/** Opens a decoder of FLAC frames. */
export function openFlac(sampleRate: number): PacketDecoder {
  const frames = new FlacFrames();
  let last = 0;
  return {
    length: (packet) => {
      const header = flacHeader(packet, 0);
      return { samples: header?.blockSize ?? last, sampleRate: header?.sampleRate || sampleRate };
    },
    decode: async (packet) => {
      const header = flacHeader(packet, 0);
      if (!header || crc16(packet, 0, packet.length) !== 0) return null;
      last = header.blockSize;
      const channels = await frames.decode(packet, header);
      const speakers = channels ? flacSpeakers(channels.length) : undefined;
      return channels && { channels, sampleRate: header.sampleRate || sampleRate, speakers };
    },
    free: () => frames.free(),
  };
}

/** The delay in samples of the filters that double the rate. */
const doublingDelay = 962;

/**
 * Opens a decoder of AAC or ALAC frames. `config` comes from the container; it is absent for ADTS, whose frames have
 * `frameSamples` at `sampleRate`. Throws NoDecoder if the decoder is not installed.
 */
export async function openAacFrames(
  config: { asc: Uint8Array } | { alac: Uint8Array } | undefined,
  frameSamples: number,
  sampleRate: number,
): Promise<PacketDecoder & { tail(): { samples: number; sampleRate: number } }> {
  const { decoder: open } = await aacDecoder();
  const decoder = await open(config);
  let [samples, rate, late, withheld] = [0, sampleRate, 0, 0];
  return {
    length: () => ({ samples: samples || frameSamples, sampleRate: rate }),
    /** Silence that replaces what the filters hold back at the end. */
    tail: () => ({ samples: late, sampleRate: rate }),
    decode: async (packet) => {
      const result = attempt(() => quiet(() => decoder.decode(config ? [packet] : packet)));
      const got = result?.channelData[0]?.length ?? 0;
      if (!result || got === 0) {
        if (samples > 0) return null;
        withheld += 1;
        return none;
      }
      if (samples > 0) return { channels: result.channelData, sampleRate: rate };
      // The decoder drops its first frame, which only fades in.
      rate = result.sampleRate;
      const alac = config && 'alac' in config;
      late = rate > sampleRate && !alac ? doublingDelay : 0;
      samples = alac ? got : Math.round((frameSamples * rate) / sampleRate);
      const before = Math.max(0, (withheld + 1) * samples - got - late);
      withheld = 0;
      const channels = result.channelData.map((channel) => {
        const padded = new Float32Array(before + got);
        padded.set(channel, before);
        return padded;
      });
      return { channels, sampleRate: rate };
    },
    free: () => decoder.free(),
  };
}

/** Opens a decoder of MP3 frames. */
export async function openMp3(): Promise<PacketDecoder> {
  const lent = await mp3Decoders.borrow();
  const facts = (packet: Uint8Array) => mp3Header(packet, 0);
  let last = { samples: 1152, sampleRate: 44_100 };
  return {
    length: (packet) => facts(packet) ?? last,
    decode: async (packet) => {
      const result = facts(packet) && attempt(() => lent.call((decoder) => decoder.decode(packet)));
      if (!result) return null;
      if (result.errors.length > 0) lent.failed = true;
      if (result.samplesDecoded === 0) return null;
      last = { samples: result.samplesDecoded, sampleRate: result.sampleRate };
      return { channels: result.channelData, sampleRate: result.sampleRate };
    },
    free: () => lent.free(),
  };
}

/** A decoder of PCM samples; null for unsupported widths. */
export function openPcm(
  kind: 'little' | 'big' | 'float',
  bits: number,
): ((channels: number, sampleRate: number) => PacketDecoder) | null {
  const little = kind !== 'big';
  const readers: Record<string, (view: DataView, at: number) => number> = {
    float32: (view, at) => view.getFloat32(at, true),
    float64: (view, at) => view.getFloat64(at, true),
    int8: (view, at) => (view.getUint8(at) - 128) / 128,
    int16: (view, at) => view.getInt16(at, little) / 2 ** 15,
    int24: (view, at) =>
      ((view.getInt8(little ? at + 2 : at) << 16) |
        (view.getUint8(at + 1) << 8) |
        view.getUint8(little ? at : at + 2)) /
      2 ** 23,
    int32: (view, at) => view.getInt32(at, little) / 2 ** 31,
  };
  const read = readers[`${kind === 'float' ? 'float' : 'int'}${bits}`];
  if (!read) return null;
  return (channels, sampleRate) => {
    const count = (packet: Uint8Array) => Math.floor(packet.length / ((channels * bits) / 8));
    return {
      length: (packet) => ({ samples: count(packet), sampleRate }),
      decode: async (packet) => {
        const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
        const all = Array.from({ length: channels }, (_, channel) =>
          Float32Array.from({ length: count(packet) }, (_, i) => read(view, ((i * channels + channel) * bits) / 8)),
        );
        return { channels: all, sampleRate };
      },
      free: () => {},
    };
  };
}
