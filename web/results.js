/** The list of transcripts. Each recording is uploaded, transcribed, shown, and can be played. */
import { ServerError, transcribe } from './api.js';
import { writers } from './subtitles.js';
import { showWords } from './words.js';

const list = document.querySelector('#results');
const emptyHint = document.querySelector('#empty');
const template = document.querySelector('#result');

/** Recordings that are sent at once, so that other clients of the server get their share of it. */
const maxConcurrent = 4;
const waiting = [];
let running = 0;

function startWaiting() {
  while (running < maxConcurrent && waiting.length > 0) {
    const start = waiting.shift();
    running += 1;
    void start().finally(() => {
      running -= 1;
      startWaiting();
    });
  }
}

// Leaving the page aborts running requests, so the browser asks for confirmation.
addEventListener('beforeunload', (event) => {
  if (running > 0) event.preventDefault();
});

/** Formats seconds, such as 3725.2 as '1:02:05'. */
function clock(seconds) {
  const rounded = Math.round(seconds);
  const digits = (value) => String(value % 60).padStart(2, '0');
  const [hours, minutes] = [Math.floor(rounded / 3600), Math.floor(rounded / 60)];
  return hours > 0 ? `${hours}:${digits(minutes)}:${digits(rounded)}` : `${minutes}:${digits(rounded)}`;
}

/**
 * Copies a text, which `element` shows. Resolves to false if it is only selected. Over http, except on localhost,
 * browsers do not provide the clipboard; then the older command is tried.
 */
async function copyText(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand('copy');
  }
}

/** Adds a recording. `options` returns the chosen options; `onUnauthorized` is called if the server requires a key. */
export function addRecording(file, options, onUnauthorized) {
  const item = template.content.firstElementChild.cloneNode(true);
  const find = (selector) => item.querySelector(selector);
  const [state, progress, text] = [find('.state'), find('progress'), find('.text')];
  const audio = document.createElement('audio');
  audio.controls = true;
  audio.preload = 'metadata';
  progress.after(audio);
  // The server may support formats that the browser cannot play.
  audio.onerror = () => {
    audio.hidden = true;
  };
  const button = (action) => find(`[data-action="${action}"]`);
  find('h3').textContent = file.name;
  audio.src = URL.createObjectURL(file);
  let controller = new AbortController();
  let removeWords = () => {};
  const urls = [audio.src];

  function showResult(result, elapsed) {
    const focused = document.activeElement === button('cancel');
    progress.hidden = true;
    button('cancel').hidden = true;
    const { language, duration, warnings = [] } = result;
    const speed = duration > 0 && elapsed > 0 ? ` (${(duration / elapsed).toFixed(1)} times real time)` : '';
    const languageText = language && language !== 'unknown' ? `${language[0].toUpperCase()}${language.slice(1)}, ` : '';
    state.textContent = `${languageText}${clock(duration)}, done in ${elapsed.toFixed(1)} s${speed}`;
    if (!result.text.trim()) text.textContent = 'No speech was found.';
    else removeWords = showWords(text, audio, result);
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
    // Keyboard focus moves to the button that replaces the hidden one.
    if (focused) button('copy').focus();
    button('copy').onclick = async () => {
      button('copy').textContent = (await copyText(result.text.trim(), text)) ? 'Copied' : 'Selected: press Ctrl+C';
    };
  }

  function showError(error) {
    const focused = document.activeElement === button('cancel');
    progress.hidden = true;
    button('cancel').hidden = true;
    button('retry').hidden = false;
    if (focused) button('retry').focus();
    state.textContent = controller.signal.aborted ? 'Stopped.' : error.message;
    if (error instanceof ServerError && error.status === 401) onUnauthorized();
  }

  async function run() {
    if (controller.signal.aborted) return;
    state.textContent = 'Sending ...';
    const started = performance.now();
    try {
      const result = await transcribe(file, {
        ...options(),
        signal: controller.signal,
        onUpload(share) {
          progress.value = share;
          if (share === 1) {
            progress.removeAttribute('value');
            state.textContent = 'Transcribing ...';
          }
        },
        onText(delta) {
          text.append(delta);
          text.scrollTop = text.scrollHeight;
        },
      });
      showResult(result, (performance.now() - started) / 1000);
    } catch (error) {
      showError(error);
    }
  }

  function enqueue() {
    controller = new AbortController();
    text.textContent = '';
    progress.hidden = false;
    progress.value = 0;
    button('cancel').hidden = false;
    if (document.activeElement === button('retry')) button('cancel').focus();
    button('retry').hidden = true;
    state.textContent = 'Waiting ...';
    waiting.push(run);
    startWaiting();
  }

  const cancel = () => {
    controller.abort(new Error('stopped'));
    const index = waiting.indexOf(run);
    if (index >= 0) {
      waiting.splice(index, 1);
      showError(new Error('stopped'));
    }
  };
  button('cancel').onclick = cancel;
  button('retry').onclick = enqueue;
  button('remove').onclick = () => {
    cancel();
    removeWords();
    for (const url of urls) URL.revokeObjectURL(url);
    const neighbour = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    emptyHint.hidden = list.children.length > 0;
    (neighbour?.querySelector('[data-action="remove"]') ?? document.querySelector('#files')).focus();
  };
  list.prepend(item);
  emptyHint.hidden = true;
  enqueue();
}
