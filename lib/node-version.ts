/** The versions of Node.js that onehead supports, as package.json's `engines` declare. */

/** Why onehead does not run with this version of Node.js, and what to do; null if it does. npm only warns. */
export function unsupportedNode(): string | null {
  const { node } = process.versions;
  const [major, minor] = node.split('.').map(Number);
  const supported = major > 20 || (major === 20 && minor >= 17);
  return supported ? null : `onehead needs Node.js 20.17 or newer, and this is ${node}; install a newer one.`;
}
