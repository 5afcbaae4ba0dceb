/** Types of weights, activations and caches, for the encoder and the decoder. */
import { refuse } from '../../checks.js';
import type { Device } from '../../device/device.js';
import type { ComputeType, FloatingType } from '../../element-types.js';
import type { LayerTypes } from '../../layers/parameters.js';
import { quoted } from '../../options/kinds.js';

/** A type that stands for all types of a model; see `uniformPrecision`. */
export type DataType = ComputeType;
export const dataTypes = ['float32', 'float16', 'bfloat16', 'int8'] as const;

/** Types of the encoder, whose products have many rows, or of the decoder, whose steps have one or a few. */
export interface PartPrecision extends LayerTypes {
  /**
   * Type of the weights of matrix products, including the token embedding. Norms, biases and position embeddings are
   * float32; convolutions have the type of `values`.
   */
  weights: ComputeType;
}

export interface Precision {
  /** Includes the projection of cross-attention keys and values, which has as many rows as the encoder's products. */
  encoder: PartPrecision;
  decoder: PartPrecision;
  /** Type of the self-attention and cross-attention caches. */
  cache: ComputeType;
}

/** The option `precision`. `encoder` and `decoder` set the weights and activations of one part. */
export interface PrecisionOptions {
  weights?: ComputeType;
  activations?: ComputeType;
  cache?: ComputeType;
  encoder?: ComputeType;
  decoder?: ComputeType;
}

/** The fastest floating types for products of many rows (encoder) and for decode steps (decoder). */
export interface BestTypes {
  encoder: FloatingType;
  decoder: FloatingType;
}

const names = ['weights', 'activations', 'cache', 'encoder', 'decoder'] as const;

export const precisionExpected = `types (${quoted(dataTypes)}) of ${names.join(', ')}`;

export function isPrecision(value: unknown): value is PrecisionOptions {
  if (Object.prototype.toString.call(value) !== '[object Object]') return false;
  const entries = Object.entries(value as object).filter(([, type]) => type !== undefined);
  return (
    entries.length > 0 &&
    entries.every(
      ([name, type]) => (names as readonly string[]).includes(name) && (dataTypes as readonly unknown[]).includes(type),
    )
  );
}

/** Parses 'weights=int8,cache=bfloat16' without checking names and types. Returns other text unchanged. */
export function readPrecision(text: string): unknown {
  const pairs = text.split(',').map((pair) => pair.split('='));
  return pairs.every((pair) => pair.length === 2) ? Object.fromEntries(pairs) : text;
}

const floating = (type: ComputeType, otherwise: FloatingType): FloatingType => (type === 'int8' ? otherwise : type);

/** One type for everything. With 'int8', values between operations have the types of `best`. */
export function uniformPrecision(
  dtype: DataType,
  best: BestTypes = { encoder: 'bfloat16', decoder: 'bfloat16' },
): Precision {
  const part = (values: FloatingType): PartPrecision => ({
    weights: dtype,
    activations: dtype,
    values: floating(dtype, values),
  });
  return { encoder: part(best.encoder), decoder: part(best.decoder), cache: dtype };
}

const bestPrecision = ({ encoder, decoder }: BestTypes): Precision => ({
  encoder: { weights: encoder, activations: encoder, values: encoder },
  decoder: { weights: decoder, activations: decoder, values: decoder },
  cache: decoder,
});

/** Replaces the types of `base` that the options set. */
function withParts(base: Precision, given: PrecisionOptions): Precision {
  const part = (name: 'encoder' | 'decoder'): PartPrecision => {
    const weights = given[name] ?? given.weights ?? base[name].weights;
    const keepsWeights = given.weights === undefined && given[name] === undefined;
    const activations = given.activations ?? (keepsWeights ? base[name].activations : weights);
    return { weights, activations, values: floating(activations, floating(weights, base[name].values)) };
  };
  return { encoder: part('encoder'), decoder: part('decoder'), cache: given.cache ?? given.decoder ?? base.cache };
}

/** Returns a precision if its types can be combined; otherwise throws OneheadError INVALID_ARGUMENT. */
function checked(precision: Precision): Precision {
  for (const name of ['encoder', 'decoder'] as const) {
    const { weights, activations } = precision[name];
    if (weights !== 'int8' && activations !== weights) {
      const expected = `'${weights}' like the ${name}'s weights (only 'int8' weights allow another type)`;
      refuse('precision.activations', expected, activations);
    }
  }
  const { cache, decoder } = precision;
  if (cache === 'int8') return precision;
  if (decoder.weights !== 'int8' && cache !== decoder.weights) {
    refuse('precision.cache', `'int8' or '${decoder.weights}', the type of the decoder's weights`, cache);
  }
  // Attention takes queries, keys and values of one floating type.
  return { ...precision, decoder: { ...decoder, values: cache } };
}

/** Replaces the types of `base` that the options set. Throws OneheadError INVALID_ARGUMENT. */
export const precisionWith = (base: Precision, given: PrecisionOptions): Precision => checked(withParts(base, given));

const isUniform = ({ encoder, decoder, cache }: Precision): boolean =>
  [encoder.weights, encoder.activations, decoder.weights, decoder.activations].every((type) => type === cache);

/**
 * Resolves the requested types. `best` returns a CPU's fastest floating types; it is called only if the request does
 * not determine them. Throws OneheadError INVALID_ARGUMENT.
 */
export async function resolvePrecision(
  device: Device,
  dtype: DataType | 'auto',
  given: PrecisionOptions | undefined,
  best: () => Promise<BestTypes>,
): Promise<Precision> {
  const isOpen = given === undefined && (dtype === 'auto' || dtype === 'int8');
  const defaults = { encoder: device.defaultDtype, decoder: device.defaultDtype };
  const types = isOpen && device.kind === 'cpu' ? await best() : defaults;
  const base = dtype === 'auto' ? bestPrecision(types) : uniformPrecision(dtype, types);
  return given ? precisionWith(base, given) : checked(base);
}

/** The single type that describes a precision best: that of the decoder's weights. */
export const nameOf = ({ decoder }: Precision): DataType => decoder.weights;

/** For example 'encoder float32, decoder int8 x bfloat16, cache int8' (weights x activations), or one type for all. */
export function precisionText(precision: Precision): string {
  if (isUniform(precision)) return precision.cache;
  const part = ({ weights, activations }: PartPrecision) =>
    weights === activations ? weights : `${weights} x ${activations}`;
  return `encoder ${part(precision.encoder)}, decoder ${part(precision.decoder)}, cache ${precision.cache}`;
}
