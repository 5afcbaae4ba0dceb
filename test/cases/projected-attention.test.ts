import { checkCases } from './checked.js';
import { family } from './projected-attention.js';

checkCases(family);
