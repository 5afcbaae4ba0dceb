/** Options of the stand-alone server: address, TLS, log. */
import { integer, oneOf, text } from '../options/kinds.js';
import { type Given, option, options } from '../options/options.js';

export const listenOptions = options('listen', {
  /** The address that is listened on; 0.0.0.0 for all of the machine's. @default '127.0.0.1' */
  host: option(text('ADDRESS'), { default: '127.0.0.1' }),
  /** The port; 0 for any free one. @default 8000 */
  port: option(integer(0, 65_535), { default: 8000 }),
  /** A certificate (PEM) for https, with `tlsKey`. */
  tlsCertificate: option(text('FILE')),
  /** The certificate's private key (PEM). */
  tlsKey: option(text('FILE')),
  /**
   * The level of the log, which is lines of JSON: fatal, error, warn, info, debug, trace or silent. It never has audio
   * or text. @default 'info'
   */
  logLevel: option(oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'LEVEL'), { default: 'info' }),
});

export interface ListenOptions extends Given<typeof listenOptions> {}
