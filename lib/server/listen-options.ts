/** Options of the stand-alone server: address, TLS, log. */
import { integer, oneOf, text } from '../options/kinds.js';
import { type Given, option, options } from '../options/options.js';

export const listenOptions = options('listen', {
  /** The address to listen on; 0.0.0.0 for all IPv4 addresses of the machine. @default '127.0.0.1' */
  host: option(text('ADDRESS'), { default: '127.0.0.1' }),
  /** The port; 0 chooses a free one. @default 8000 */
  port: option(integer(0, 65_535), { default: 8000 }),
  /** A certificate (PEM) for https; needs `tlsKey`. */
  tlsCertificate: option(text('FILE')),
  /** The certificate's private key (PEM). */
  tlsKey: option(text('FILE')),
  /**
   * The level of the log: fatal, error, warn, info, debug, trace or silent. The log consists of JSON lines, and never
   * contains audio or text. @default 'info'
   */
  logLevel: option(oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'LEVEL'), { default: 'info' }),
});

export interface ListenOptions extends Given<typeof listenOptions> {}
