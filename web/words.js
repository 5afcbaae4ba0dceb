/** Text whose words light up while they are played, and lead to their place when they are chosen. */

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
      shown.push({ ...word, span });
      paragraph.append(span);
    }
    place.append(paragraph);
  }
  let lit = null;
  let frame = 0;
  const light = () => {
    const time = audio.currentTime;
    // Words are few: the last one that has begun, unless its end is long past.
    const begun = shown.findLast(({ start }) => start <= time + 0.02);
    const next = begun && time < begun.end + 0.3 && !(audio.paused && time === 0) ? begun.span : null;
    if (next !== lit) {
      lit?.classList.remove('lit');
      next?.classList.add('lit');
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
    audio.currentTime = word.start;
    void audio.play();
  };
  for (const event of ['play', 'seeked', 'pause']) audio.addEventListener(event, start);
  place.addEventListener('click', lead);
  return () => {
    cancelAnimationFrame(frame);
    for (const event of ['play', 'seeked', 'pause']) audio.removeEventListener(event, start);
    place.removeEventListener('click', lead);
  };
}
