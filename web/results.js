/** The list of transcripts: each a recording that is sent, decoded, shown and played. */
import { Refused, transcribe } from './api.js';
import { writers } from './subtitles.js';
import { showWords } from './words.js';

const list = document.querySelector('#results');
const nothing = document.querySelector('#nothing');
const template = document.querySelector('#result');

/** Recordings that are sent at once: the server shares its model among all who ask. */
const mostAtOnce = 4;
const waiting = [];
let running = 0;

function next() {
  while (running < mostAtOnce && waiting.length > 0) {
    const start = waiting.shift();
    running += 1;
    void start().finally(() => {
      running -= 1;
      next();
    });
  }
}

// Who leaves the page loses what is under way: the browser asks first.
addEventListener('beforeunload', (event) => {
  if (running > 0) event.preventDefault();
});

/** 3725.2 as '1:02:05'. */
function clock(seconds) {
  const whole = Math.round(seconds);
  const part = (value) => String(value % 60).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60)];
  return hours > 0 ? `${hours}:${part(minutes)}:${part(whole)}` : `${minutes}:${part(whole)}`;
}

/**
 * Over http a browser gives no clipboard, but for localhost: there the text is selected and copied as it was of old.
 */
async function copied(text, place) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(place);
    return document.execCommand('copy');
  }
}

/** Adds a recording. `options` gives what is chosen at the moment; `onKey` is called where the server wants a key. */
export function addRecording(file, options, onKey) {
  const item = template.content.firstElementChild.cloneNode(true);
  const find = (selector) => item.querySelector(selector);
  const [state, progress, text] = [find('.state'), find('progress'), find('.text')];
  const audio = document.createElement('audio');
  audio.controls = true;
  audio.preload = 'metadata';
  progress.after(audio);
  // What the browser cannot play may be heard all the same.
  audio.onerror = () => {
    audio.hidden = true;
  };
  const button = (action) => find(`[data-action="${action}"]`);
  find('h3').textContent = file.name;
  audio.src = URL.createObjectURL(file);
  let stop = new AbortController();
  let forget = () => {};
  const urls = [audio.src];

  function done(result, elapsed) {
    progress.hidden = true;
    button('cancel').hidden = true;
    const { language, duration, warnings = [] } = result;
    const speed =
      duration > 0 && elapsed > 0 ? `, ${(duration / elapsed).toFixed(1)} times as fast as it was spoken` : '';
    const spoken = language ? `${language[0].toUpperCase()}${language.slice(1)}, ` : '';
    state.textContent = `${spoken}${clock(duration)}, done in ${elapsed.toFixed(1)} s${speed}`;
    if (!result.text.trim()) text.textContent = 'Nothing was said.';
    else forget = showWords(text, audio, result);
    find('.warning').textContent = warnings.join(' ');
    find('.warning').hidden = warnings.length === 0;
    const stem = file.name.replace(/\.[^.]*$/, '') || 'transcript';
    for (const link of item.querySelectorAll('.downloads a')) {
      const [type, write] = writers[link.dataset.format];
      link.href = URL.createObjectURL(new Blob([write(result)], { type }));
      link.download = `${stem}.${link.dataset.format}`;
      urls.push(link.href);
    }
    find('.downloads').hidden = false;
    button('copy').hidden = false;
    button('copy').onclick = async () => {
      button('copy').textContent = (await copied(result.text.trim(), text)) ? 'Copied' : 'Selected: press Ctrl+C';
    };
  }

  function failed(error) {
    const focused = document.activeElement === button('cancel');
    progress.hidden = true;
    button('cancel').hidden = true;
    button('again').hidden = false;
    // Whoever works by keyboard stays where he was.
    if (focused) button('again').focus();
    state.textContent = stop.signal.aborted ? 'Stopped.' : error.message;
    if (error instanceof Refused && error.status === 401) onKey();
  }

  async function run() {
    if (stop.signal.aborted) return;
    state.textContent = 'Sending ...';
    const started = performance.now();
    try {
      const result = await transcribe(file, {
        ...options(),
        signal: stop.signal,
        onUpload(share) {
          progress.value = share;
          if (share === 1) {
            progress.removeAttribute('value');
            state.textContent = 'Transcribing ...';
          }
        },
        onText(piece) {
          text.append(piece);
          text.scrollTop = text.scrollHeight;
        },
      });
      done(result, (performance.now() - started) / 1000);
    } catch (error) {
      failed(error);
    }
  }

  function begin() {
    stop = new AbortController();
    text.textContent = '';
    progress.hidden = false;
    progress.value = 0;
    button('cancel').hidden = false;
    button('again').hidden = true;
    state.textContent = 'Waiting ...';
    waiting.push(run);
    next();
  }

  const end = () => {
    stop.abort(new Error('stopped'));
    const place = waiting.indexOf(run);
    if (place >= 0) {
      waiting.splice(place, 1);
      failed(new Error('stopped'));
    }
  };
  button('cancel').onclick = end;
  button('again').onclick = begin;
  button('remove').onclick = () => {
    end();
    forget();
    for (const url of urls) URL.revokeObjectURL(url);
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    nothing.hidden = list.children.length > 0;
    (neighbour?.querySelector('[data-action="remove"]') ?? document.querySelector('#files')).focus();
  };
  list.prepend(item);
  nothing.hidden = true;
  begin();
}
