/**
 * `npm run bench -- neighbours`: measures several processes on the same cores, as when services share a machine. Each
 * transcribes a recording repeatedly. Prints the milliseconds per clip for 1, 2 and 4 processes, also relative to one;
 * stores JSON with --output.
 *
 *   --model DIR       (default: the bundled model)
 *   --audio FILE      the recording (default: the bundled one)
 *   --processes N,... (default: 1,2,4)
 *   --devices N       devices in each process, which work concurrently (default: 1)
 *   --threads N       threads of each device (default: the number of usable cores)
 *   --seconds N       duration of each measurement (default: 5)
 *   --cores LIST      cores to which processes are pinned, in the format of taskset (default: all)
 *   --dtype TYPE  --output FILE
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Device } from '../lib/device/device.js';
import { describeCpu, root } from './machine.js';

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: join(root, 'models/micro') },
    audio: { type: 'string', default: join(root, 'models/micro/sample.flac') },
    dtype: { type: 'string', default: 'auto' },
    processes: { type: 'string', default: '1,2,4' },
    threads: { type: 'string' },
    devices: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '5' },
    cores: { type: 'string' },
    output: { type: 'string' },
  },
});

interface Measured {
  clips: number;
  elapsed: number;
  times: number[];
  cpuMilliseconds: number;
}

/** Starts a process and waits until its models are loaded. */
async function startProcess(): Promise<{ measure: () => Promise<Measured> }> {
  const passed = ['model', 'audio', 'dtype', 'threads', 'devices', 'seconds'] as const;
  const options = passed.flatMap((name) => (values[name] === undefined ? [] : [`--${name}`, values[name]]));
  const command = [process.execPath, join(root, 'bench/measure-neighbours.mjs'), ...options];
  if (values.cores) command.unshift('taskset', '-c', values.cores);
  const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('A process ended early; its output is above.');
    return String(value);
  };
  await line();
  return {
    measure: async () => {
      child.stdin.write('start\n');
      const measured = JSON.parse(await line()) as Measured;
      if (child.exitCode === null) await once(child, 'exit');
      return measured;
    },
  };
}

const results: Record<string, number>[] = [];
console.log('processes     ms/clip   vs one     p95          clips/s     CPU ms/clip');
for (const processes of values.processes.split(',').map(Number)) {
  const started = await Promise.all(Array.from({ length: processes }, startProcess));
  const measured = await Promise.all(started.map(({ measure }) => measure()));
  const times = measured.flatMap((process) => process.times).sort((a, b) => a - b);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const p95 = times[Math.floor(times.length * 0.95)];
  const rate = measured.reduce((sum, { clips, elapsed }) => sum + (1000 * clips) / elapsed, 0);
  const cpu = measured.reduce((sum, { cpuMilliseconds }) => sum + cpuMilliseconds, 0) / times.length;
  results.push({ processes, millisecondsPerClip: mean, p95, clipsPerSecond: rate, cpuMillisecondsPerClip: cpu });
  const cells = [mean.toFixed(1), (mean / results[0].millisecondsPerClip).toFixed(2), p95.toFixed(1), rate.toFixed(1)];
  const widths = [12, 9, 8, 17];
  console.log(
    `${String(processes).padStart(9)}${cells.map((cell, i) => cell.padStart(widths[i])).join('')}${cpu.toFixed(1).padStart(16)}`,
  );
}

if (values.output) {
  const machine = { ...describeCpu(), cores: Device.information().threads }; // those that this process may use
  const { output, ...settings } = values;
  const relative = { ...settings, model: settings.model.replace(root, ''), audio: settings.audio.replace(root, '') };
  const stored = { date: new Date().toISOString(), machine, settings: relative, results };
  writeFileSync(output, `${JSON.stringify(stored, null, 2)}\n`);
}
