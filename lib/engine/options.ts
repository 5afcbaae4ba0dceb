/** Options of an engine. */
import type { EngineLimits } from './time-sharing.js';

export interface EngineOptions {
  /** The device's name in events. */
  device?: string;
  /** The clock, in milliseconds. */
  now?: () => number;
  limits?: Partial<EngineLimits>;
}
