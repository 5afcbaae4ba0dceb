/** The page's controls. */
import { currentKey, metrics, models, ServerError, setKey } from './api.js';
import { languages } from './languages.js';
import { startMicrophone } from './microphone.js';
import { addRecording } from './results.js';

const find = (selector) => document.querySelector(selector);
const notice = find('#notice');

function showNotice(message) {
  notice.textContent = message;
  notice.hidden = message === '';
}

const options = () => ({ task: find('#task').value, model: find('#model').value, language: find('#language').value });

function requestKey() {
  find('#key-field').hidden = false;
  showNotice('This server requires a key.');
  find('#key').focus();
}

async function showModels() {
  try {
    const names = await models();
    find('#model').replaceChildren(...names.map((name) => new Option(name.split('/').at(-1), name)));
    showNotice('');
  } catch (error) {
    if (error instanceof ServerError && error.status === 401) requestKey();
    else showNotice(error.message);
  }
}

/** Describes the server's load. */
async function showLoad() {
  const values = await metrics();
  if (values === null) return;
  const value = (name) => values.get(`onehead_${name}`) ?? 0;
  const open = value('open_requests');
  const waiting = value('waiting_windows') + value('waiting_searches');
  const seconds = Math.round(value('oldest_wait_seconds'));
  const requests = `${open} ${open === 1 ? 'recording' : 'recordings'} in progress`;
  const rows = `${value('rows_used')} of ${value('rows')} rows in use`;
  const queue = waiting > 0 ? `, ${waiting} waiting${seconds > 0 ? ` for up to ${seconds} s` : ''}` : '';
  find('#load').textContent = open === 0 ? 'The server is idle' : `${requests}, ${rows}${queue}`;
}

function updateLoad() {
  if (!document.hidden) void showLoad();
  setTimeout(updateLoad, 2000);
}

function add(files) {
  for (const file of files) addRecording(file, options, requestKey);
}

find('#files').onchange = ({ target }) => {
  add([...target.files]);
  target.value = ''; // so that the same file can be chosen again
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

/** Levels of the last seconds, from 0 to 1, which are drawn as bars. */
const levels = [];
function drawLevel(level) {
  const canvas = find('#level');
  const context = canvas.getContext('2d');
  const maxBars = canvas.width / 6;
  levels.push(level);
  if (levels.length > maxBars) levels.shift();
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = getComputedStyle(document.body).getPropertyValue('--accent');
  for (const [index, value] of levels.entries()) {
    const height = Math.max(2, value * canvas.height);
    context.fillRect(canvas.width - (levels.length - index) * 6, (canvas.height - height) / 2, 4, height);
  }
}

let microphone = null;
const speak = find('#speak');

function showListening(active) {
  speak.setAttribute('aria-pressed', String(active));
  find('#speak-label').textContent = active ? 'Stop' : 'Speak';
  find('#speak-hint').textContent = active ? 'and keep the recording' : 'into the microphone';
  find('#live').hidden = !active;
}

/** True while the microphone starts or stops. A disabled button would lose the keyboard's focus. */
let changing = false;

speak.onclick = async () => {
  if (changing) return;
  changing = true;
  try {
    if (microphone) {
      const recording = await microphone.stop();
      microphone = null;
      showListening(false);
      add([recording]);
      return;
    }
    showNotice('');
    find('#live-text').textContent = '';
    levels.length = 0;
    microphone = await startMicrophone(options(), {
      onText(text) {
        find('#live-text').textContent = text;
      },
      onLevel: drawLevel,
      onError: showNotice,
    });
    showListening(true);
  } catch (error) {
    const denied = error.name === 'NotAllowedError' || error.name === 'NotFoundError';
    showNotice(denied ? 'No microphone was found, or the page may not use it; check the permission.' : error.message);
  } finally {
    changing = false;
  }
};

find('#key').value = currentKey();
find('#key').onchange = ({ target }) => {
  setKey(target.value);
  void showModels();
};
find('#options').onsubmit = (event) => event.preventDefault();
find('#task').onchange = ({ target }) => {
  find('#language').disabled = target.value === 'translations';
};
for (const [code, name] of languages) find('#language').append(new Option(name, code));
find('#address').textContent = `POST ${new URL('v1/audio/transcriptions', document.baseURI)}`;
void showModels();
updateLoad();
