/** A server with S3's API, which stores each bucket in a folder. */
declare module 's3rver' {
  interface Settings {
    port: number;
    address: string;
    silent: boolean;
    directory: string;
    configureBuckets: { name: string }[];
  }
  export default class S3rver {
    constructor(settings: Settings);
    run(): Promise<unknown>;
    close(): Promise<void>;
  }
}
