import { checkCases } from './checked.js';
import { family } from './attention.js';

checkCases(family);
