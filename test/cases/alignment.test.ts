import { checkCases } from './checked.js';
import { family } from './alignment.js';

checkCases(family);
