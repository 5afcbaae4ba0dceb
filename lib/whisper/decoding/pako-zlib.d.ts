declare module 'pako/lib/zlib/deflate.js' {
  /** zlib's z_stream, as pako exposes it. */
  interface Stream {
    input: Uint8Array;
    next_in: number;
    avail_in: number;
    output: Uint8Array;
    next_out: number;
    avail_out: number;
    total_out: number;
  }
  /** Each function returns zlib's status. */
  const zlib: {
    deflateInit2(
      stream: Stream,
      level: number,
      method: number,
      windowBits: number,
      memoryLevel: number,
      strategy: number,
      classicHash: boolean,
    ): number;
    deflateReset(stream: Stream): number;
    deflate(stream: Stream, flush: number): number;
  };
  export default zlib;
}

declare module 'pako/lib/zlib/zstream.js' {
  const ZStream: new () => import('pako/lib/zlib/deflate.js').Stream;
  export default ZStream;
}
