import { family } from './attention.js';
import { checkCases } from './checked.js';

checkCases(family);
