import { checkCases } from './checked.js';
import { family } from './linear.js';

checkCases(family);
