/** Runs other programs, and measures their memory and CPU time. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { root } from './machine.js';

export const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';

/** Why a program failed, by its standard error: the line of an error, as Node.js and Python print it, or the last. */
export const failure = (printed: string): string => printed.match(/^\w*Error\b.*:.*$/gm)?.at(-1) ?? lastLine(printed);

/** Runs a command in the repository and returns what it prints. Throws an Error with the reason if it fails. */
export function run(command: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command[0], command.slice(1), {
    encoding: 'utf8',
    cwd: root,
    maxBuffer: 1 << 26,
  });
  if (status !== 0)
    throw new Error(failure(stderr ?? '') || error?.message || `${command[0]} exited with status ${status}`);
  return stdout;
}

/**
 * Runs a command. Returns its peak memory in bytes, its CPU time in seconds, and its standard error. Throws an Error
 * with the last line of that if the command fails.
 */
export async function runMonitored(
  command: readonly string[],
): Promise<{ peak: number; cpuSeconds: number; printed: string }> {
  const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
  let printed = '';
  let peak = 0;
  let cpuSeconds = 0;
  child.stderr.on('data', (data) => {
    printed += data;
  });
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, 1024 * Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0));
      // The fields utime and stime, in hundredths of a second: the 12th and 13th after the name in brackets.
      const [user, system] = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11, 13);
      cpuSeconds = (Number(user) + Number(system)) / 100;
    } catch {} // the process has just ended
  }, 20);
  try {
    const status = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
    if (status !== 0) throw new Error(failure(printed) || `it exited with status ${status}`);
    return { peak, cpuSeconds, printed };
  } finally {
    clearInterval(timer);
  }
}
