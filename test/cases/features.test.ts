import { checkCases } from './checked.js';
import { family } from './features.js';

checkCases(family);
