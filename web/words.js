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

/** The words, each with the blank before it in the text: languages such as Japanese have none. */
export function withBlanks(words, text) {
  let end = 0;
  return words.map((word) => {
    const begin = text.indexOf(word.word, end);
    const follows = begin >= 0 && text.slice(end, begin).trim() === '';
    const blank = follows && begin === end ? '' : ' ';
    if (follows) end = begin + word.word.length;
    return { ...word, blank };
  });
}

/** Adds a paragraph for each segment, and an element for each word. Returns the words with their elements. */
function appendWords(container, { text, segments, words }) {
  const shown = [];
  for (const group of wordsBySegment(segments, withBlanks(words, text))) {
    if (group.length === 0) continue;
    const paragraph = document.createElement('p');
    for (const [index, word] of group.entries()) {
      if (index > 0) paragraph.append(word.blank);
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
  return shown;
}

/** Highlights each word while it is played. Returns a function that stops that. */
function highlightPlayed(shown, audio) {
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
  const events = ['play', 'seeked', 'pause'];
  for (const event of events) audio.addEventListener(event, restart);
  return () => {
    cancelAnimationFrame(frame);
    for (const event of events) audio.removeEventListener(event, restart);
  };
}

/** Plays from words that are clicked or chosen by keyboard. Returns a function that stops that. */
function playChosen(shown, container, audio) {
  /** The word that the tab key focuses. */
  let tabStop = shown[0]?.span;
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
  container.addEventListener('click', playFrom);
  container.addEventListener('keydown', onKey);
  return () => {
    container.removeEventListener('click', playFrom);
    container.removeEventListener('keydown', onKey);
  };
}

/**
 * Shows a transcript in `container`, for playback with `audio`. Returns a function that removes its event listeners.
 */
export function showWords(container, audio, { text, segments = [], words = [] }) {
  container.textContent = '';
  const shown = appendWords(container, { text, segments, words });
  if (shown.length === 0) {
    container.textContent = segments.map((segment) => segment.text.trim()).join('\n') || text;
    return () => {};
  }
  container.setAttribute('role', 'group');
  container.setAttribute('aria-label', 'Transcript: arrow keys move between words, Enter plays from a word');
  const stops = [highlightPlayed(shown, audio), playChosen(shown, container, audio)];
  return () => {
    for (const stop of stops) stop();
  };
}
