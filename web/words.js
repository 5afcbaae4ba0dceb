/**
 * Shows a transcript whose words are highlighted during playback, and play the audio from their start when clicked.
 *
 * Keyboard: the tab key reaches the whole text as one element. Arrow keys move between words, Home and End move to the
 * first and last word, and Enter or the space bar plays from the focused word.
 */

/** Formats seconds, such as 65.2 as '1:05'. */
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;

/** Divides words among segments, by the middle of each word. */
function wordsBySegment(segments, words) {
  const groups = segments.map(() => []);
  let current = 0;
  for (const word of words) {
    while (current + 1 < segments.length && (word.start + word.end) / 2 >= segments[current].end) current += 1;
    groups[current]?.push(word);
  }
  return groups;
}

/**
 * Shows a transcript in `container`, for playback with `audio`. Returns a function that removes its event listeners.
 */
export function showWords(container, audio, { text, segments = [], words = [] }) {
  container.textContent = '';
  const shown = [];
  if (words.length === 0) container.textContent = segments.map((segment) => segment.text.trim()).join('\n') || text;
  for (const group of words.length > 0 ? wordsBySegment(segments, words) : []) {
    if (group.length === 0) continue;
    const paragraph = document.createElement('p');
    for (const [index, word] of group.entries()) {
      if (index > 0) paragraph.append(' ');
      const span = document.createElement('span');
      span.className = 'word';
      span.textContent = word.word;
      span.setAttribute('role', 'button');
      span.tabIndex = shown.length === 0 ? 0 : -1;
      span.setAttribute('aria-label', `${word.word}, play from ${clock(word.start)}`);
      shown.push({ ...word, span });
      paragraph.append(span);
    }
    container.append(paragraph);
  }
  if (shown.length > 0) {
    container.setAttribute('role', 'group');
    container.setAttribute('aria-label', 'Transcript: arrow keys move between words, Enter plays from a word');
  }
  /** The word that the tab key focuses. */
  let tabStop = shown[0]?.span;
  /** The highlighted word. */
  let playing = null;
  let frame = 0;
  const highlight = () => {
    const time = audio.currentTime;
    // The last word that has started, unless it ended more than 0.3 s ago.
    const started = shown.findLast(({ start }) => start <= time + 0.02);
    const next = started && time < started.end + 0.3 && !(audio.paused && time === 0) ? started.span : null;
    if (next !== playing) {
      playing?.classList.remove('playing');
      playing?.removeAttribute('aria-current');
      next?.classList.add('playing');
      next?.setAttribute('aria-current', 'true');
      playing = next;
    }
    frame = audio.paused ? 0 : requestAnimationFrame(highlight);
  };
  const restart = () => {
    cancelAnimationFrame(frame);
    highlight();
  };
  const setTabStop = (span) => {
    tabStop.tabIndex = -1;
    span.tabIndex = 0;
    tabStop = span;
  };
  const playFrom = ({ target }) => {
    const word = shown.find(({ span }) => span === target);
    if (!word) return;
    setTabStop(word.span);
    audio.currentTime = word.start;
    // The browser may not support the format.
    audio.play().catch(() => {});
  };
  const onKey = (event) => {
    const index = shown.findIndex(({ span }) => span === event.target);
    if (index < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = shown.length - 1;
    const [next, previous] = [Math.min(last, index + 1), Math.max(0, index - 1)];
    const targets = { ArrowRight: next, ArrowDown: next, ArrowLeft: previous, ArrowUp: previous, Home: 0, End: last };
    if (event.key === 'Enter' || event.key === ' ') playFrom(event);
    else if (event.key in targets) {
      setTabStop(shown[targets[event.key]].span);
      tabStop.focus();
    } else return;
    event.preventDefault();
  };
  for (const event of ['play', 'seeked', 'pause']) audio.addEventListener(event, restart);
  container.addEventListener('click', playFrom);
  container.addEventListener('keydown', onKey);
  return () => {
    cancelAnimationFrame(frame);
    for (const event of ['play', 'seeked', 'pause']) audio.removeEventListener(event, restart);
    container.removeEventListener('click', playFrom);
    container.removeEventListener('keydown', onKey);
  };
}
