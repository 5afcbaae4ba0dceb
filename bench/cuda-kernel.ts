/** `node --import tsx bench/cuda-kernel.ts NAME BATCH DEVICE TYPE`: launches one kernel once, for a profiler to watch. */
import type { FloatingType } from '../lib/element-types.js';
import { launchKernel } from './cuda-ncu.js';

const [named, batch, kind, dtype] = process.argv.slice(2);
await launchKernel(named, Number(batch), kind, dtype as FloatingType);
