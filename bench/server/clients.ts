/** HTTP clients as there are: most wait for their answer, some go away, some send rubbish, one is slow. */
import { Agent, type ClientRequest, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomNumbers } from '../../test/random.js';

export interface Clip {
  bytes: Buffer;
  /** Seconds. */
  duration: number;
  /** What a server says of it when nobody else asks. */
  text: string;
}

export interface Answer {
  status: number;
  body: string;
}

const boundary = 'onehead-bench';

/** A form with these fields and a file, as bytes. */
export function form(fields: Record<string, string>, file: Buffer, name = 'clip.flac'): Buffer {
  const parts = Object.entries(fields).map(
    ([field, value]) => `--${boundary}\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${value}\r\n`,
  );
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n\r\n`;
  return Buffer.concat([Buffer.from(parts.join('') + head), file, Buffer.from(`\r\n--${boundary}--\r\n`)]);
}

/** Sends a form; rejects where no whole answer comes. `onRequest` is given what can be destroyed. */
export function post(
  url: string,
  body: Buffer,
  agent: Agent,
  onRequest: (sent: ClientRequest) => void = () => {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': body.length };
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        if (response.complete) resolve({ status: response.statusCode!, body: Buffer.concat(parts).toString() });
        else reject(new Error('the answer was cut short'));
      });
      response.on('error', reject);
    });
    sent.on('error', reject);
    onRequest(sent);
    sent.end(body);
  });
}

export interface Counted {
  /** Requests with their one right answer. */
  answered: number;
  /** Those that were told to come back (503, 429). */
  refused: number;
  /** Clients that went away before their answer. */
  left: number;
  /** Rubbish that was answered with a 4xx. */
  rubbish: number;
  /** Requests without an answer, or with a wrong one: what they were. */
  wrong: string[];
  /** Seconds of audio of those that were answered. */
  audio: number;
  /** Milliseconds of each that was answered. */
  times: number[];
  elapsed: number;
}

export interface Load {
  url: string;
  fields: Record<string, string>;
  clips: readonly Clip[];
  clients: number;
  /** Of each kind of mischief, the share of requests. */
  mischief: number;
  /** Ends when so many were answered, or after so many milliseconds. */
  until: { requests?: number; milliseconds?: number };
  /** Called after each answer. */
  onAnswer?: (answered: number) => void;
}

/** Each client asks again as soon as it has its answer. */
export async function closedLoop({ url, fields, clips, clients, mischief, until, onAnswer }: Load): Promise<Counted> {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
  const counted: Counted = { answered: 0, refused: 0, left: 0, rubbish: 0, wrong: [], audio: 0, times: [], elapsed: 0 };
  const random = randomNumbers(clients);
  const started = performance.now();
  const open = () =>
    counted.answered < (until.requests ?? Number.POSITIVE_INFINITY) &&
    performance.now() - started < (until.milliseconds ?? Number.POSITIVE_INFINITY);

  const goAway = async (clip: Clip) => {
    let sent: ClientRequest | undefined;
    const answer = post(url, form(fields, clip.bytes), agent, (one) => {
      sent = one;
    }).catch(() => null);
    await sleep(random() * 60);
    sent?.destroy();
    await answer;
    counted.left += 1;
  };
  const sendRubbish = async (clip: Clip) => {
    const kinds = [
      () => form(fields, Buffer.from('This is no recording.')),
      () => form({ ...fields, response_format: 'poetry' }, clip.bytes),
      () => form(fields, clip.bytes).subarray(0, 300),
      () => Buffer.from('no form at all'),
    ];
    const kind = Math.floor(random() * kinds.length);
    const answer = await post(url, kinds[kind](), agent).catch((error: Error) => error);
    if (!(answer instanceof Error) && answer.status >= 400 && answer.status < 500) counted.rubbish += 1;
    else if (!(answer instanceof Error) && answer.status === 503) counted.refused += 1;
    else counted.wrong.push(`rubbish ${kind}: ${answer instanceof Error ? answer.message : answer.status}`);
  };
  const ask = async (clip: Clip) => {
    const began = performance.now();
    const answer = await post(url, form(fields, clip.bytes), agent).catch((error: Error) => error);
    if (answer instanceof Error) counted.wrong.push(answer.message);
    else if (answer.status === 503 || answer.status === 429) {
      counted.refused += 1;
      await sleep(200);
    } else if (answer.status !== 200) counted.wrong.push(`${answer.status} ${answer.body.slice(0, 100)}`);
    else if (clip.text !== '' && answer.body.trim() !== clip.text) {
      counted.wrong.push(`'${answer.body.trim().slice(0, 60)}' instead of '${clip.text.slice(0, 60)}'`);
    } else {
      counted.answered += 1;
      counted.audio += clip.duration;
      counted.times.push(performance.now() - began);
      onAnswer?.(counted.answered);
    }
  };
  const client = async () => {
    while (open()) {
      const clip = clips[Math.floor(random() * clips.length)];
      const draw = random();
      if (draw < mischief) await goAway(clip);
      else if (draw < 2 * mischief) await sendRubbish(clip);
      else await ask(clip);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  counted.elapsed = performance.now() - started;
  agent.destroy();
  return counted;
}

/** Uploads a clip at so many bytes a second until it is stopped; gives what it was answered, if it was. */
export function trickle(url: string, body: Buffer, bytesPerSecond: number) {
  const agent = new Agent();
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': body.length };
  let status: number | null = null;
  const sent = request(url, { method: 'POST', agent, headers }, (response) => {
    status = response.statusCode ?? null;
    response.resume();
  });
  sent.on('error', () => {});
  let at = 0;
  const timer = setInterval(() => {
    sent.write(body.subarray(at, at + bytesPerSecond / 10));
    at += bytesPerSecond / 10;
    if (at >= body.length) {
      clearInterval(timer);
      sent.end();
    }
  }, 100);
  return {
    stop() {
      clearInterval(timer);
      sent.destroy();
      return status;
    },
  };
}

export function percentile(times: readonly number[], share: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
