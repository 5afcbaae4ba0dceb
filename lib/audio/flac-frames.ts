/** Headers and checksums of FLAC (RFC 9639). */

export interface FlacHeader {
  /** Bytes of the header, including its checksum. */
  length: number;
  /** Samples of each channel. */
  blockSize: number;
  /** Hertz; 0 if STREAMINFO has it. */
  sampleRate: number;
  channels: number;
  /** 0 if STREAMINFO has it. */
  bits: number;
  /** True if `number` counts samples; otherwise it counts frames. */
  variable: boolean;
  number: number;
}

/** The fields of STREAMINFO; zero means unknown. */
export interface FlacInfo {
  blockSize: number;
  sampleRate: number;
  channels: number;
  bits: number;
  samples: number;
}

const rates = [0, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000];
const widths = [0, 8, 12, -1, 16, 20, 24, 32];
/** The longest header of a frame. */
export const maxHeaderBytes = 16;

const crc8Table = Uint8Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; ++bit) crc = crc & 128 ? (crc << 1) ^ 7 : crc << 1;
  return crc;
});

const crc16Table = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; ++bit) crc = crc & 0x8000 ? (crc << 1) ^ 0x8005 : crc << 1;
  return crc;
});

/** Continues the checksum `crc` with one byte. */
export const nextCrc16 = (crc: number, byte: number): number => ((crc << 8) & 0xffff) ^ crc16Table[(crc >> 8) ^ byte];

/** Continues the checksum `crc` with further bytes. */
export function crc16(bytes: Uint8Array, begin: number, end: number, crc = 0): number {
  for (let at = begin; at < end; ++at) crc = nextCrc16(crc, bytes[at]);
  return crc;
}

/** A number of up to 36 bits in UTF-8's scheme; null if it is invalid. */
function codedNumber(bytes: Uint8Array, at: number): { number: number; length: number } | null {
  const first = bytes[at];
  if (first < 128) return { number: first, length: 1 };
  const length = Math.clz32(~(first << 24));
  if (length < 2 || length > 7 || at + length > bytes.length) return null;
  let number = first & (127 >> length);
  for (let i = 1; i < length; ++i) {
    if (bytes[at + i] >> 6 !== 2) return null;
    number = number * 64 + (bytes[at + i] & 63);
  }
  return { number, length };
}

/** The frame header at `at`, or null if there is none or it is incomplete. */
export function flacHeader(bytes: Uint8Array, at: number): FlacHeader | null {
  if (at + 6 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xfe) !== 0xf8) return null;
  const [sizeCode, rateCode] = [bytes[at + 2] >> 4, bytes[at + 2] & 15];
  const [channelCode, widthCode] = [bytes[at + 3] >> 4, (bytes[at + 3] >> 1) & 7];
  if (sizeCode === 0 || rateCode === 15 || channelCode > 10 || widthCode === 3 || bytes[at + 3] & 1) return null;
  const coded = codedNumber(bytes, at + 4);
  if (!coded) return null;
  let next = at + 4 + coded.length;
  const sizeBytes = sizeCode === 6 ? 1 : sizeCode === 7 ? 2 : 0;
  const rateBytes = rateCode === 12 ? 1 : rateCode > 12 ? 2 : 0;
  if (next + sizeBytes + rateBytes >= bytes.length) return null;
  const read = (count: number) => {
    let value = 0;
    for (let i = 0; i < count; ++i) value = (value << 8) | bytes[next++];
    return value;
  };
  const sizeValue = read(sizeBytes);
  const rateValue = read(rateBytes);
  let crc = 0;
  for (let i = at; i < next; ++i) crc = crc8Table[crc ^ bytes[i]];
  if (crc !== bytes[next]) return null;
  const blockSize =
    sizeBytes > 0 ? sizeValue + 1 : sizeCode === 1 ? 192 : sizeCode < 6 ? 576 << (sizeCode - 2) : 256 << (sizeCode - 8);
  return {
    length: next + 1 - at,
    blockSize,
    sampleRate: rateCode < 12 ? rates[rateCode] : rateValue * [1000, 1, 10][rateCode - 12],
    channels: channelCode < 8 ? channelCode + 1 : 2,
    bits: widths[widthCode],
    variable: (bytes[at + 1] & 1) === 1,
    number: coded.number,
  };
}

/** The 34 bytes of STREAMINFO. */
export function flacInfo(body: Uint8Array): FlacInfo {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const packed = view.getUint32(10);
  const [smallest, largest] = [view.getUint16(0), view.getUint16(2)];
  return {
    blockSize: smallest === largest ? largest : 0,
    sampleRate: packed >>> 12,
    channels: ((packed >> 9) & 7) + 1,
    bits: ((packed >> 4) & 31) + 1,
    samples: (packed & 15) * 2 ** 32 + view.getUint32(14),
  };
}

/** The maximum bytes of a frame: every sample verbatim, with one extra bit for the difference of channels. */
export function maxFrameBytes({ blockSize, channels, bits }: FlacHeader, info: FlacInfo | null): number {
  return Math.ceil((blockSize * channels * ((bits || info?.bits || 32) + 1)) / 8) + 64 * channels + 64;
}

/** x to the power of -n in the field of the frames' checksum, for n below its order. */
const inversePowers = new Uint16Array(32_767);
for (let n = 0, power = 1; n < 32_767; ++n) {
  inversePowers[n] = power;
  power = power & 1 ? (power ^ 0x1_8005) >> 1 : power >> 1;
}

function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 15; bit >= 0; --bit) {
    product = product & 0x8000 ? ((product << 1) ^ 0x8005) & 0xffff : product << 1;
    if ((b >> bit) & 1) product ^= a;
  }
  return product;
}

/**
 * A value for the position `offset` of a stream whose preceding bytes have the checksum `crc`. Two positions have the
 * same value if the bytes between them have the checksum 0, as a whole frame does. So all pairs of positions are tested
 * by comparing single values.
 */
export function positionCheck(crc: number, offset: number): number {
  return multiply(crc, inversePowers[(8 * offset) % 32_767]);
}
