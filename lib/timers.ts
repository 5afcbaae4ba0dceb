/** The longest delay of a timer, in milliseconds; Node.js runs later ones at once. */
export const longestDelay = 2 ** 31 - 1;
