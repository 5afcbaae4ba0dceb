/** `onehead doctor`: reports what is installed on this machine, what that means, and what to do. */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { aacPackages, missingDecoder } from '../audio/aac-decoders.js';
import { cpuQuota, threadsWithinQuota } from '../cpu-quota.js';
import { type FoundAddon, openAddon } from '../device/addon.js';
import { Device } from '../device/device.js';
import type { Information } from '../device/native.js';
import { unsupportedNode } from '../node-version.js';
import { requireFromPackage } from '../package-root.js';
import {
  bestTypesFile,
  chosenTypes,
  integersAreFaster,
  requestedProducts,
  type TypeTimes,
  typeTimes,
} from '../whisper/model/best-types.js';
import { prepareArguments } from './arguments.js';
import { plural } from './plural.js';

export const doctorHelp = `onehead doctor                        shows what is installed here, what that means, and what to do

  --json                 as JSON
`;

interface Finding {
  subject: string;
  found: string;
  means: string;
  /** Advice; '' if there is none. */
  todo: string;
}

function ffmpegVersion(): string | null {
  const { status, stdout } = spawnSync('ffmpeg', ['-version'], { encoding: 'utf8' });
  return status === 0 ? (/^ffmpeg version (\S+)/.exec(stdout)?.[1] ?? 'of an unknown version') : null;
}

function nodeFinding(): Finding {
  const supported = unsupportedNode() === null;
  return {
    subject: 'Node.js',
    found: process.version,
    means: `Version 20.17 or newer is needed${supported ? ', so this version is supported' : ''}.`,
    todo: supported ? '' : 'Install a newer Node.js.',
  };
}

async function audioFindings(): Promise<Finding[]> {
  const version = ffmpegVersion();
  const decodes = (await missingDecoder('m4a')) === null;
  const builtIn = `wav, flac, mp3, ogg, opus and webm${decodes ? ', m4a and aac' : ''}`;
  return [
    {
      subject: 'm4a, aac',
      found: decodes ? aacPackages.join(' and ') : 'no decoders (GPL-2.0) installed',
      means: decodes || version ? `They are decoded${decodes ? '' : ' by ffmpeg'}.` : 'They cannot be read.',
      todo: decodes || version ? '' : `Install ffmpeg, or run: npm install ${aacPackages.join(' ')}`,
    },
    {
      subject: 'ffmpeg',
      found: version ?? 'not found',
      means: version ? 'Every format that it supports can be read.' : `Only ${builtIn} can be read.`,
      todo: version ? '' : 'For other formats, install it: apt-get install ffmpeg.',
    },
  ];
}

/** The times of each type, measured now if there are no stored ones; null if the CPU device cannot be opened. */
async function measuredTypes(): Promise<TypeTimes | null> {
  try {
    using device = new Device('cpu');
    return await typeTimes(device, Device.cpu().threads);
  } catch {
    return null;
  }
}

function typesFinding(multiplies: boolean, times: TypeTimes | null): Finding {
  const support = `the CPU ${multiplies ? 'multiplies' : 'does not multiply'} bfloat16 natively`;
  if (!times) return { subject: 'types', found: support, means: 'The faster type could not be measured.', todo: '' };
  const milliseconds = (time: number) => `${(time / 1000).toFixed(2)} ms`;
  const pair = ({ float32, bfloat16, integers }: TypeTimes['encoder']) =>
    `float32 ${milliseconds(float32)}, bfloat16 ${milliseconds(bfloat16)}${
      integers === undefined ? '' : ` (with oneDNN's products; ${milliseconds(integers)} with 16-bit integers)`
    }`;
  const { encoder, decoder } = chosenTypes(times);
  const requested = requestedProducts();
  const inIntegers = requested ? requested === 'integers' : integersAreFaster(times);
  const products = inIntegers ? 'in 16-bit integers' : 'by oneDNN';
  const measured = inIntegers
    ? 'which take less than half the time'
    : 'since integers do not take less than half the time';
  const reason = requested ? 'as ONEHEAD_CPU_PRODUCTS demands' : measured;
  const many =
    times.encoder.integers === undefined
      ? ''
      : ` Products of many rows in bfloat16 are computed ${products}, ${reason}.`;
  return {
    subject: 'types',
    found: `${support}; an encoder layer takes ${pair(times.encoder)}, a step's product ${pair(times.decoder)}`,
    means: `Encoders are loaded as ${encoder} and decoders as ${decoder} by default (measured once, stored in ${bestTypesFile()}).${many}`,
    todo: '',
  };
}

function cpuFindings({ cpu, onednn, threads }: Information, times: TypeTimes | null): Finding[] {
  const quota = cpuQuota();
  const isLimit = threadsWithinQuota(Number.POSITIVE_INFINITY, quota) === threads;
  const limit = isLimit ? ` (its container may use the CPU time of ${Number(quota.toFixed(2))})` : '';
  const model = cpus()[0]?.model ?? 'unknown';
  return [
    {
      subject: 'CPU',
      found: `${model}, ${plural(threads, 'core')} for this process${limit}; kernels: ${cpu.available.join(', ')}`,
      means: `The ${cpu.kernels} kernels are used, with ${plural(threads, 'thread')} by default.`,
      todo: cpu.kernels === 'portable' ? 'A CPU with AVX2 or AVX-512 would be several times faster.' : '',
    },
    typesFinding(cpu.multipliesBfloat16, times),
    { subject: 'oneDNN', found: onednn.version, means: 'It computes the encoder’s matrix products.', todo: '' },
  ];
}

function cudaFindings({ cuda }: Information): Finding[] {
  const driver =
    cuda.driverVersion > 0 ? `${Math.floor(cuda.driverVersion / 1000)}.${(cuda.driverVersion % 1000) / 10}` : null;
  const devices = cuda.devices.map(
    ({ name, memory, computeCapability }) =>
      `${name} (${(memory / 2 ** 30).toFixed(0)} GiB, compute capability ${computeCapability})`,
  );
  return [
    {
      subject: 'NVIDIA driver',
      found: driver ? `for CUDA ${driver}` : `none (${cuda.reason})`,
      means: cuda.available ? 'A GPU can run this addon’s kernels.' : 'Only the CPU is used.',
      todo: cuda.compiled
        ? ''
        : 'For the CUDA kernels run npm install @onehead/linux-x64-cuda, or build the addon with nvcc installed.',
    },
    {
      subject: 'GPU',
      found: devices.join('; ') || 'none',
      means: cuda.available ? 'Models are loaded on the first one, as float16, by default.' : 'Only the CPU is used.',
      todo: devices.length > 0 && !cuda.available ? `It cannot be used: ${cuda.reason}.` : '',
    },
    {
      subject: 'cuBLASLt',
      found: cuda.cublasLt ?? 'not found',
      means: cuda.cublasLt
        ? 'It computes the encoder’s matrix products on a GPU.'
        : 'The encoder’s matrix products on a GPU use the package’s own, slower kernel.',
      todo:
        cuda.available && !cuda.cublasLt
          ? 'Install it (apt-get install libcublas-13-0, or pip’s nvidia-cublas) and put its folder on LD_LIBRARY_PATH.'
          : '',
    },
  ];
}

/** The addon that loads, or the reason why none does. */
function addonFinding(): { finding: Finding; loaded: boolean } {
  let found: FoundAddon | null = null;
  try {
    const opened = openAddon((addon) => {
      found = addon;
      return requireFromPackage(addon.file);
    });
    const kernels = Device.information().cuda.compiled ? 'CPU and CUDA kernels' : 'CPU kernels only';
    const means = `It is ${opened.found.origin}, with ${kernels}, and is loaded: onehead can compute.`;
    const todo = opened.skipped.map(({ why, todo }) => `It was chosen since ${why}: ${todo}.`).join(' ');
    return { finding: { subject: 'addon', found: opened.found.file, means, todo }, loaded: true };
  } catch (error) {
    // Any error is reported as a finding, not thrown: that is the purpose of this command.
    const todo = error instanceof Error ? error.message : String(error);
    const file = (found as FoundAddon | null)?.file ?? 'none';
    const means = 'It cannot be used: nothing can be transcribed.';
    return { finding: { subject: 'addon', found: file, means, todo }, loaded: false };
  }
}

async function collectFindings(): Promise<{
  findings: Finding[];
  information: Information | null;
  types: TypeTimes | null;
}> {
  const addon = addonFinding();
  const audio = await audioFindings();
  if (!addon.loaded) return { findings: [nodeFinding(), addon.finding, ...audio], information: null, types: null };
  const information = Device.information();
  const types = await measuredTypes();
  const processors = [...cpuFindings(information, types), ...cudaFindings(information)];
  return { findings: [nodeFinding(), addon.finding, ...processors, ...audio], information, types };
}

export async function doctorCommand(args: string[]): Promise<number> {
  const config = { json: { type: 'boolean' } } as const;
  const { values } = parseArgs({ args: prepareArguments('doctor', args, config), options: config });
  const { findings, information, types } = await collectFindings();
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ findings, information, types }, null, 2)}\n`);
  } else {
    for (const { subject, found, means, todo } of findings) {
      process.stdout.write(`${subject.padEnd(15)}${found}\n${' '.repeat(15)}${means}\n`);
      if (todo) process.stdout.write(`${' '.repeat(15)}To do: ${todo}\n`);
    }
  }
  return information ? 0 : 1;
}
