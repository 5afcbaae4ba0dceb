import { family } from './attention.js';
import { ringed } from './attention-ring.js';
import { checkCases } from './checked.js';

// Until a GPU has measured it, this kernel is used only if it is named.
process.env.ONEHEAD_CUDA_WITH = 'ring';
checkCases({ ...family, checked: ringed });
