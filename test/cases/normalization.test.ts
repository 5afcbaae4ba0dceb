import { checkCases } from './checked.js';
import { family } from './normalization.js';

checkCases(family);
