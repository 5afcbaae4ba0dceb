import { family } from './alignment.js';
import { checkCases } from './checked.js';

checkCases(family);
