/** Types of weights, of what they are multiplied with, and of caches, for the encoder and the decoder. */
import { refuse } from '../../checks.js';
import type { Device } from '../../device/device.js';
import type { ComputeType, FloatingType } from '../../element-types.js';
import type { LayerTypes } from '../../layers/parameters.js';
import { quoted } from '../../options/kinds.js';

/** A name for the usual choice of all types. */
export type DataType = ComputeType;
export const dataTypes = ['float32', 'float16', 'bfloat16', 'int8'] as const;

/** Types of the encoder, whose products have many rows, or of the decoder, whose steps have one or a few. */
export interface PartPrecision extends LayerTypes {
  /**
   * Type of the weights of products. With 'int8' the embedding is 8 bits too; norms, biases and positions are float32,
   * convolutions have the type of `values`.
   */
  weights: ComputeType;
}

export interface Precision {
  /** With the decoder's keys and values of the audio, which are products of many rows too. */
  encoder: PartPrecision;
  decoder: PartPrecision;
  /** Type of keys and values. */
  cache: ComputeType;
}

/**
 * The parts of a precision that can be given; a type alone for `encoder` and `decoder` stands for weights and
 * activations.
 */
export interface PrecisionOptions {
  weights?: ComputeType;
  activations?: ComputeType;
  cache?: ComputeType;
  encoder?: ComputeType;
  decoder?: ComputeType;
}

/** The floating type that serves products of many rows, and steps, best. */
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

/** From 'weights=int8,cache=bfloat16'. */
export function readPrecision(text: string): unknown {
  const pairs = text.split(',').map((pair) => pair.split('='));
  return pairs.every((pair) => pair.length === 2) ? Object.fromEntries(pairs) : text;
}

const floating = (type: ComputeType, otherwise: FloatingType): FloatingType => (type === 'int8' ? otherwise : type);

/** All of one type; `values` of int8 are those of `best`. */
export function usualPrecision(
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

function withParts(base: Precision, given: PrecisionOptions): Precision {
  const part = (name: 'encoder' | 'decoder'): PartPrecision => {
    const weights = given[name] ?? given.weights ?? base[name].weights;
    const usual = given.weights === undefined && given[name] === undefined ? base[name].activations : weights;
    const activations = given.activations ?? usual;
    return { weights, activations, values: floating(activations, floating(weights, base[name].values)) };
  };
  return { encoder: part('encoder'), decoder: part('decoder'), cache: given.cache ?? given.decoder ?? base.cache };
}

/** Throws OneheadError INVALID_ARGUMENT for types that cannot go together. */
function checked(precision: Precision): Precision {
  for (const name of ['encoder', 'decoder'] as const) {
    const { weights, activations } = precision[name];
    if (weights !== 'int8' && activations !== weights) {
      refuse(
        'precision',
        `activations of the ${name} to be ${weights} as its weights are, which only int8 weights need not be,`,
        {
          weights,
          activations,
        },
      );
    }
  }
  const { cache, decoder } = precision;
  if (cache === 'int8') return precision;
  // Attention reads and writes the cache's type.
  if (decoder.weights !== 'int8' && cache !== decoder.weights) {
    refuse('precision', `a cache of int8, or of the decoder's type (${decoder.weights}),`, cache);
  }
  return { ...precision, decoder: { ...decoder, values: cache } };
}

/** Parts in types of their own, checked. Throws OneheadError INVALID_ARGUMENT. */
export const precisionWith = (base: Precision, given: PrecisionOptions): Precision => checked(withParts(base, given));

const isUniform = ({ encoder, decoder, cache }: Precision): boolean =>
  [encoder.weights, encoder.activations, decoder.weights, decoder.activations].every((type) => type === cache);

/**
 * Resolves the requested types. `best` returns a CPU's fastest floating types, and is called only if they are left
 * open. Throws OneheadError INVALID_ARGUMENT.
 */
export async function resolvePrecision(
  device: Device,
  dtype: DataType | 'auto',
  given: PrecisionOptions | undefined,
  best: () => Promise<BestTypes>,
): Promise<Precision> {
  const open = given === undefined && (dtype === 'auto' || dtype === 'int8');
  const usual = { encoder: device.defaultDtype, decoder: device.defaultDtype };
  const types = open && device.kind === 'cpu' ? await best() : usual;
  const base = dtype === 'auto' ? bestPrecision(types) : usualPrecision(dtype, types);
  return given ? precisionWith(base, given) : checked(base);
}

/** The name of the usual choice that comes nearest: what the decoder's weights are. */
export const nameOf = ({ decoder }: Precision): DataType => decoder.weights;

/** 'encoder float32, decoder int8 x bfloat16, cache int8'; one type where all are that. */
export function precisionText(precision: Precision): string {
  if (isUniform(precision)) return precision.cache;
  const part = ({ weights, activations }: PartPrecision) =>
    weights === activations ? weights : `${weights} x ${activations}`;
  return `encoder ${part(precision.encoder)}, decoder ${part(precision.decoder)}, cache ${precision.cache}`;
}
