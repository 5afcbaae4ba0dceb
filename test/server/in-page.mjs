/** Functions that the page's tests run in the browser. */

export const focused = () => document.activeElement?.id || document.activeElement?.tagName;
export const focusedName = () => document.activeElement?.ariaLabel ?? document.activeElement?.textContent.trim();
export const pageWidth = () => document.documentElement.scrollWidth;
export const playedTo = () => document.querySelector('audio').currentTime;

/** Creates the data of a drop of one file, from its bytes in base64. */
export function droppedFile(encoded) {
  const data = new DataTransfer();
  const content = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  data.items.add(new File([content], 'dropped.flac'));
  return data;
}

/** Controls without an accessible name. */
export function nameless() {
  return [...document.querySelectorAll('button, input, select, a')]
    .filter((one) => one.offsetParent !== null || one.id === 'files')
    .filter((one) => {
      const labels = [...(one.labels ?? [])].map(({ textContent }) => textContent);
      return (one.textContent + labels.join('')).trim() === '';
    })
    .map((one) => one.outerHTML);
}

/** The contrast of each text with its background, as defined by WCAG: from 1 to 21. */
export function contrasts() {
  const style = getComputedStyle(document.documentElement);
  const luminance = (name) => {
    const value = style.getPropertyValue(name).trim().slice(1);
    const [r, g, b] = [0, 2, 4].map((at) => {
      const one = Number.parseInt(value.slice(at, at + 2), 16) / 255;
      return one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pairs = [
    ['--ink', '--card'],
    ['--quiet', '--card'],
    ['--quiet', '--ground'],
    ['--accent', '--card'],
    ['--danger', '--card'],
    ['--on-lit', '--lit'],
  ];
  return pairs.map(([front, back]) => {
    const [high, low] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  });
}
