/** What happens on the page. */
import { currentKey, figures, models, Refused, useKey } from './api.js';
import { languages } from './languages.js';
import { listen } from './microphone.js';
import { addRecording } from './results.js';

const find = (selector) => document.querySelector(selector);
const notice = find('#notice');

function tell(sentence) {
  notice.textContent = sentence;
  notice.hidden = sentence === '';
}

const options = () => ({ task: find('#task').value, model: find('#model').value, language: find('#language').value });

function askForKey() {
  find('#key-field').hidden = false;
  tell('This server wants a key.');
  find('#key').focus();
}

async function showModels() {
  try {
    const names = await models();
    find('#model').replaceChildren(...names.map((name) => new Option(name.split('/').at(-1), name)));
    tell('');
  } catch (error) {
    if (error instanceof Refused && error.status === 401) askForKey();
    else tell(error.message);
  }
}

/** The server's queue, in a sentence. */
async function showLoad() {
  const now = await figures();
  if (now === null) return;
  const of = (name) => now.get(`onehead_${name}`) ?? 0;
  const [open, waiting, rows] = [of('open_requests'), of('waiting_windows') + of('waiting_searches'), of('rows_used')];
  const seconds = Math.round(of('oldest_wait_seconds'));
  find('#load').textContent =
    open === 0
      ? 'The server is idle'
      : `${open} ${open === 1 ? 'recording' : 'recordings'} under way, ${rows} of ${of('rows')} rows in use${waiting > 0 ? `, ${waiting} waiting${seconds > 0 ? ` for up to ${seconds} s` : ''}` : ''}`;
}

function watchLoad() {
  if (!document.hidden) void showLoad();
  setTimeout(watchLoad, 2000);
}

function add(files) {
  for (const file of files) addRecording(file, options, askForKey);
}

find('#files').onchange = ({ target }) => {
  add([...target.files]);
  target.value = ''; // the same file may be chosen again
};
for (const event of ['dragenter', 'dragover']) {
  document.addEventListener(event, (drag) => {
    drag.preventDefault();
    document.body.classList.add('dragging');
  });
}
document.addEventListener('dragleave', ({ relatedTarget }) => {
  if (relatedTarget === null) document.body.classList.remove('dragging');
});
document.addEventListener('drop', (drop) => {
  drop.preventDefault();
  document.body.classList.remove('dragging');
  add([...drop.dataTransfer.files]);
});

/** The loudness of the last seconds, as bars. */
const levels = [];
function drawLevel(level) {
  const canvas = find('#level');
  const context = canvas.getContext('2d');
  const most = canvas.width / 6;
  levels.push(level);
  if (levels.length > most) levels.shift();
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = getComputedStyle(document.body).getPropertyValue('--accent');
  for (const [index, one] of levels.entries()) {
    const height = Math.max(2, one * canvas.height);
    context.fillRect(canvas.width - (levels.length - index) * 6, (canvas.height - height) / 2, 4, height);
  }
}

let microphone = null;
const speak = find('#speak');

function showListening(on) {
  speak.setAttribute('aria-pressed', String(on));
  find('#speak-label').textContent = on ? 'Stop' : 'Speak';
  find('#speak-hint').textContent = on ? 'and keep what was said' : 'into the microphone';
  find('#live').hidden = !on;
}

speak.onclick = async () => {
  speak.disabled = true;
  try {
    if (microphone) {
      const recording = await microphone.stop();
      microphone = null;
      showListening(false);
      add([recording]);
      return;
    }
    tell('');
    find('#live-text').textContent = '';
    levels.length = 0;
    microphone = await listen(options(), {
      onText(text) {
        find('#live-text').textContent = text;
      },
      onLevel: drawLevel,
      onError: tell,
    });
    showListening(true);
  } catch (error) {
    const denied = error.name === 'NotAllowedError' || error.name === 'NotFoundError';
    tell(denied ? 'There is no microphone that this page may use.' : error.message);
  } finally {
    speak.disabled = false;
  }
};

find('#key').value = currentKey();
find('#key').onchange = ({ target }) => {
  useKey(target.value);
  void showModels();
};
find('#options').onsubmit = (event) => event.preventDefault();
find('#task').onchange = ({ target }) => {
  find('#language').disabled = target.value === 'translations';
};
for (const [code, name] of languages) find('#language').append(new Option(name, code));
find('#address').textContent = `POST ${new URL('v1/audio/transcriptions', document.baseURI)}`;
void showModels();
watchLoad();
