/** Element types of tensors. */
export const floatingTypes = ['float32', 'float16', 'bfloat16'] as const;
export type FloatingType = (typeof floatingTypes)[number];
export type ElementType = FloatingType | 'int32' | 'uint8' | 'int8';
/** Storage types of weights, of rows that are multiplied, and of caches. */
export type ComputeType = FloatingType | 'int8';

/** Bytes of an element. */
export const elementBytes: Readonly<Record<ComputeType, number>> = { float32: 4, float16: 2, bfloat16: 2, int8: 1 };
