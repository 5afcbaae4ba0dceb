/** Checks of arguments of the profiler's functions. Each throws OneheadError INVALID_ARGUMENT. */
import { countOf, refuse, requireObject } from '../../checks.js';

/** Refuses what is not a path. */
export function requirePath(argument: string, value: unknown): asserts value is string {
  if (typeof value !== 'string') refuse(argument, 'a path', value);
}

function requireCounts(argument: string, value: unknown, names: readonly string[]): void {
  requireObject(argument, value);
  for (const name of names) countOf(`${argument}.${name}`, value[name]);
}

/** A model that is measured in part has no layers in the other part. */
function requireLayers(argument: string, value: unknown, names: readonly string[]): void {
  requireCounts(argument, value, ['heads', 'keyValueHeads', 'feedForward', ...names]);
  const { layers } = value as { layers: unknown };
  if (!Number.isInteger(layers) || (layers as number) < 0) {
    refuse(`${argument}.layers`, 'a whole number of at least 0', layers);
  }
}

/** Refuses what is not the shape of a Whisper model. */
export function requireConfig(config: unknown): void {
  requireCounts('config', config, ['width', 'mels', 'sourcePositions', 'targetPositions', 'vocabulary']);
  const { encoder, decoder } = config as { encoder: unknown; decoder: unknown };
  requireLayers('config.encoder', encoder, []);
  requireLayers('config.decoder', decoder, ['crossKeyValueHeads']);
}

/** Refuses what is not the shape of a decoder. */
export function requireDecoder(shape: unknown): void {
  requireLayers('shape', shape, ['width', 'vocabulary']);
  const { cross } = shape as { cross?: unknown };
  if (cross !== undefined) requireCounts('shape.cross', cross, ['keyValueHeads', 'positions']);
}

/** Refuses options other than a batch, and numbers of at least 0. */
export function requireStorage(options: unknown): void {
  requireCounts('options', options, ['batch']);
  for (const [name, value] of Object.entries(options as object)) {
    if (value !== undefined && !(Number.isFinite(value) && value >= 0)) {
      refuse(`options.${name}`, 'a number of at least 0', value);
    }
  }
}

/** Refuses an object in which one of these is not a number. */
export function requireNumbers(argument: string, value: unknown, names: readonly string[]): void {
  requireObject(argument, value);
  for (const name of names) {
    if (typeof value[name] !== 'number') refuse(`${argument}.${name}`, 'a number', value[name]);
  }
}
