import { checkCases } from './checked.js';
import { family } from './rows.js';

checkCases(family);
