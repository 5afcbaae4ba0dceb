/**
 * Text whose words light up while they are played, and lead to their place when they are chosen: by a click, or by
 * keys. A text is one stop of the tab key; arrows go from word to word, Home and End to the first and the last, and
 * Enter or the space bar plays from there.
 */

/** 65.2 as '1:05'. */
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;

/** Words of each segment, in order: a word is that segment's in which its middle lies. */
function parted(segments, words) {
  const parts = segments.map(() => []);
  let at = 0;
  for (const word of words) {
    while (at + 1 < segments.length && (word.start + word.end) / 2 >= segments[at].end) at += 1;
    parts[at]?.push(word);
  }
  return parts;
}

/** Shows a transcript in `place`, along with `audio`. Gives what forgets it. */
export function showWords(place, audio, { text, segments = [], words = [] }) {
  place.textContent = '';
  const shown = [];
  if (words.length === 0) place.textContent = segments.map((one) => one.text.trim()).join('\n') || text;
  for (const part of words.length > 0 ? parted(segments, words) : []) {
    if (part.length === 0) continue;
    const paragraph = document.createElement('p');
    for (const [index, word] of part.entries()) {
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
    place.append(paragraph);
  }
  if (shown.length > 0) {
    place.setAttribute('role', 'group');
    place.setAttribute('aria-label', 'Transcript: arrow keys go from word to word, Enter plays from there');
  }
  /** The word that the tab key leads to. */
  let stop = shown[0]?.span;
  let lit = null;
  let frame = 0;
  const light = () => {
    const time = audio.currentTime;
    // Words are few: the last one that has begun, unless its end is long past.
    const begun = shown.findLast(({ start }) => start <= time + 0.02);
    const next = begun && time < begun.end + 0.3 && !(audio.paused && time === 0) ? begun.span : null;
    if (next !== lit) {
      lit?.classList.remove('lit');
      lit?.removeAttribute('aria-current');
      next?.classList.add('lit');
      next?.setAttribute('aria-current', 'true');
      lit = next;
    }
    frame = audio.paused ? 0 : requestAnimationFrame(light);
  };
  const start = () => {
    cancelAnimationFrame(frame);
    light();
  };
  const lead = ({ target }) => {
    const word = shown.find(({ span }) => span === target);
    if (!word) return;
    stopAt(word.span);
    audio.currentTime = word.start;
    // What the browser cannot play stays silent.
    audio.play().catch(() => {});
  };
  const stopAt = (span) => {
    stop.tabIndex = -1;
    span.tabIndex = 0;
    stop = span;
  };
  const move = (event) => {
    const at = shown.findIndex(({ span }) => span === event.target);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = shown.length - 1;
    const places = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last };
    if (event.key === 'Enter' || event.key === ' ') lead(event);
    else if (event.key in places) {
      stopAt(shown[Math.max(0, Math.min(last, places[event.key]))].span);
      stop.focus();
    } else return;
    event.preventDefault();
  };
  for (const event of ['play', 'seeked', 'pause']) audio.addEventListener(event, start);
  place.addEventListener('click', lead);
  place.addEventListener('keydown', move);
  return () => {
    cancelAnimationFrame(frame);
    for (const event of ['play', 'seeked', 'pause']) audio.removeEventListener(event, start);
    place.removeEventListener('click', lead);
    place.removeEventListener('keydown', move);
  };
}
