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

/** A recording in the list, from its upload to its transcript. */
class Result {
  #file;
  #options;
  #onUnauthorized;
  #item = template.content.firstElementChild.cloneNode(true);
  #audio = document.createElement('audio');
  #controller;
  /** Removes the listeners of the transcript's words. */
  #removeWords = () => {};
  /** URLs of the audio and the downloads, which have to be revoked. */
  #urls = [];

  constructor(file, options, onUnauthorized) {
    this.#file = file;
    this.#options = options;
    this.#onUnauthorized = onUnauthorized;
    this.#find('h3').textContent = file.name;
    this.#addPlayer();
    this.#button('cancel').onclick = () => this.#cancel();
    this.#button('retry').onclick = () => this.start();
    this.#button('remove').onclick = () => this.#remove();
    list.prepend(this.#item);
    emptyHint.hidden = true;
  }

  /** Transcribes the recording when its turn has come. */
  start() {
    this.#controller = new AbortController();
    this.#text.textContent = '';
    this.#progress.hidden = false;
    this.#progress.value = 0;
    this.#replaceButton('retry', 'cancel');
    this.#showState('Waiting ...');
    waiting.push(this.#run);
    startWaiting();
  }

  #find(selector) {
    return this.#item.querySelector(selector);
  }

  #button(action) {
    return this.#find(`[data-action="${action}"]`);
  }

  get #text() {
    return this.#find('.text');
  }

  get #progress() {
    return this.#find('progress');
  }

  #showState(text) {
    this.#find('.state').textContent = text;
  }

  /** Shows a button instead of another one, and moves the keyboard's focus to it if the other one had it. */
  #replaceButton(hidden, shown) {
    const focused = document.activeElement === this.#button(hidden);
    this.#button(hidden).hidden = true;
    this.#button(shown).hidden = false;
    if (focused) this.#button(shown).focus();
  }

  #newUrl(blob) {
    const url = URL.createObjectURL(blob);
    this.#urls.push(url);
    return url;
  }

  #addPlayer() {
    this.#audio.controls = true;
    this.#audio.preload = 'metadata';
    // The server may support formats that the browser cannot play.
    this.#audio.onerror = () => {
      this.#audio.hidden = true;
    };
    this.#audio.src = this.#newUrl(this.#file);
    this.#progress.after(this.#audio);
  }

  /** Uploads and transcribes the recording. A field, since `waiting` finds it by identity. */
  #run = async () => {
    const { signal } = this.#controller;
    if (signal.aborted) return;
    this.#showState('Sending ...');
    const started = performance.now();
    try {
      const result = await transcribe(this.#file, {
        ...this.#options(),
        signal,
        onUpload: (share) => this.#showUpload(share),
        onText: (delta) => {
          this.#text.append(delta);
          this.#text.scrollTop = this.#text.scrollHeight;
        },
      });
      this.#showResult(result, (performance.now() - started) / 1000);
    } catch (error) {
      this.#showError(error);
    }
  };

  #showUpload(share) {
    this.#progress.value = share;
    if (share < 1) return;
    this.#progress.removeAttribute('value'); // its end is unknown
    this.#showState('Transcribing ...');
  }

  #showResult(result, elapsed) {
    this.#progress.hidden = true;
    this.#replaceButton('cancel', 'copy');
    this.#showSummary(result, elapsed);
    if (result.text.trim()) this.#removeWords = showWords(this.#text, this.#audio, result);
    else this.#text.textContent = 'No speech was found.';
    this.#showDownloads(result);
    this.#button('copy').onclick = async () => {
      const copied = await copyText(result.text.trim(), this.#text);
      this.#button('copy').textContent = copied ? 'Copied' : 'Selected: press Ctrl+C';
    };
  }

  /** Shows language, duration and speed, and the warnings. */
  #showSummary({ language, duration, warnings = [] }, elapsed) {
    const speed = duration > 0 && elapsed > 0 ? ` (${(duration / elapsed).toFixed(1)} times real time)` : '';
    const languageText = language && language !== 'unknown' ? `${language[0].toUpperCase()}${language.slice(1)}, ` : '';
    this.#showState(`${languageText}${clock(duration)}, done in ${elapsed.toFixed(1)} s${speed}`);
    this.#find('.warning').textContent = warnings.join(' ');
    this.#find('.warning').hidden = warnings.length === 0;
  }

  #showDownloads(result) {
    const stem = this.#file.name.replace(/\.[^.]*$/, '') || 'transcript';
    for (const link of this.#item.querySelectorAll('.downloads a')) {
      const [type, write] = writers[link.dataset.format];
      link.href = this.#newUrl(new Blob([write(result)], { type }));
      link.download = `${stem}.${link.dataset.format}`;
    }
    this.#find('.downloads').hidden = false;
  }

  #showError(error) {
    this.#progress.hidden = true;
    this.#replaceButton('cancel', 'retry');
    this.#showState(this.#controller.signal.aborted ? 'Stopped.' : error.message);
    if (error instanceof ServerError && error.status === 401) this.#onUnauthorized();
  }

  #cancel() {
    this.#controller.abort(new Error('stopped'));
    const index = waiting.indexOf(this.#run);
    if (index >= 0) {
      waiting.splice(index, 1);
      this.#showError(new Error('stopped'));
    }
  }

  /** Removes the recording. The keyboard's focus moves to the next one. */
  #remove() {
    this.#cancel();
    this.#removeWords();
    for (const url of this.#urls) URL.revokeObjectURL(url);
    const neighbour = this.#item.nextElementSibling ?? this.#item.previousElementSibling;
    this.#item.remove();
    emptyHint.hidden = list.children.length > 0;
    (neighbour?.querySelector('[data-action="remove"]') ?? document.querySelector('#files')).focus();
  }
}

/** Adds a recording. `options` returns the chosen options; `onUnauthorized` is called if the server requires a key. */
export function addRecording(file, options, onUnauthorized) {
  new Result(file, options, onUnauthorized).start();
}
