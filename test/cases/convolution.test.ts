import { checkCases } from './checked.js';
import { family } from './convolution.js';

checkCases(family);
