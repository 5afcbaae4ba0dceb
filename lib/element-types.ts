/** Types of a tensor's elements. */
export type FloatingType = 'float32' | 'float16' | 'bfloat16';
export type ElementType = FloatingType | 'int32' | 'uint8';
