import { checkCases } from './checked.js';
import { family } from './decoding.js';

checkCases(family);
