/**
 * The I/O model: bytes and operations of attention layers and models, computed from shapes, and the least time that a
 * device needs for them. Nothing here is measured.
 */
export {
  type AttentionCost,
  type AttentionOperation,
  type AttentionShape,
  attention,
  type DecodingCost,
  decoding,
} from './attention.js';
export { type EinsumCost, einsumCost as einsum } from './einsum.js';
export {
  crossCache,
  type DecoderShape,
  decoderShape,
  decodeStep,
  encoder,
  type OperationCost,
  type Storage,
} from './model.js';
export {
  type Ceilings,
  caches,
  decoderOnlyParameters,
  type Floor,
  floor,
  floorOf,
  memoryBytes,
  type ParameterCounts,
  parameters,
  storageOf,
} from './sizes.js';
