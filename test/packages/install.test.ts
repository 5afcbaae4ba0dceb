/**
 * The published packages, installed by npm in an empty project, with only Node.js and npm on PATH, and no
 * network except loopback.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasFfmpeg, folder as recordings } from '../audio/support.js';
import { root } from '../cli/command.js';

const load = createRequire(import.meta.url);
const { prepareOutput, packAddon, packMain, packCloneAddon, unbuilt } = load('../../scripts/packages.cjs');
const { openProject, sizeOf } = load('../../scripts/try-packages.cjs');
const system = `${process.platform}-${process.arch}`;
const output = mkdtempSync(join(tmpdir(), 'onehead-packages-'));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const transcript = /We will return on Thursday\..*Add honey and chicken/s;

/** An empty project with onehead installed. `options` are for npm, and may name further packages. */
async function installed(...options: string[]) {
  const project = await openProject(packed);
  const { status, stderr } = await project.run('npm', ['install', 'onehead', '--ignore-scripts=false', ...options]);
  expect(status, stderr).toBe(0);
  const modules = join(project.folder, 'node_modules');
  const addon = join(modules, '@onehead', system);
  const transcribe = (env = {}, file = join(modules, 'onehead/models/micro/sample.flac')) =>
    project.run('npx', ['onehead', 'transcribe', file], env);
  return { ...project, modules, addon, transcribe };
}

let packed: { manifest: { name: string }; files?: string[] }[] = [];
let project: Awaited<ReturnType<typeof installed>>;
beforeAll(async () => {
  prepareOutput(output);
  packed = [packMain(), packCloneAddon()];
  // This machine's addon is used for all systems, since only the choice of the package matters.
  const file = join(root, 'build/Release/onehead.node');
  for (const name of ['linux-arm64', 'linux-x64-cuda'].filter((one) => one !== system))
    packed.push(packAddon(name, file, { glibc: '2.28' }));
  packed.push(...unbuilt(packed));
  project = await installed();
});
afterAll(() => {
  project?.close();
  rmSync(output, { recursive: true });
});

/** A preloaded script that makes Node.js report another system. */
function pretending(what: string): { NODE_OPTIONS: string } {
  const file = join(project.folder, 'pretend.cjs');
  writeFileSync(file, what);
  return { NODE_OPTIONS: `--require ${file}` };
}
const withGlibc = (header: string) => `process.report.getReport = () => ({ header: ${header} });`;

describe('onehead, installed', () => {
  it('transcribes, without a compiler, CMake or an install script', async () => {
    expect(await project.transcribe()).toMatchObject({
      status: 0,
      stderr: '',
      stdout: expect.stringMatching(transcript),
    });
    const { stdout } = await project.run('npx', ['onehead', 'doctor', '--json']);
    const addon = JSON.parse(stdout).findings.find(({ subject }: { subject: string }) => subject === 'addon');
    expect(addon).toMatchObject({ found: join(project.addon, 'onehead.node'), todo: '' });
    expect(addon.means).toContain(`@onehead/${system} ${version}`);
  });

  it('can be imported and required', async () => {
    const script =
      'Whisper.load().then((one) => { console.log(one.language === undefined, typeof one.transcribe); one.dispose(); })';
    for (const [kind, code] of [
      ['module', `import { Whisper } from 'onehead'; ${script}`],
      ['commonjs', `const { Whisper } = require('onehead'); ${script}`],
    ]) {
      const { status, stdout, stderr } = await project.run('node', [`--input-type=${kind}`, '--eval', code]);
      expect({ status, stderr, stdout }).toMatchObject({ status: 0, stdout: expect.stringContaining('function') });
    }
  });

  it('has few packages, none under the GPL, and only the addon of this system', () => {
    const { packages } = sizeOf(project.modules);
    expect(packages).toBeLessThanOrEqual(40);
    const lock = JSON.parse(readFileSync(join(project.modules, '.package-lock.json'), 'utf8'));
    const licences = Object.entries(lock.packages as Record<string, { license?: string }>);
    expect(licences.filter(([, { license }]) => !license || /(^|[^L])GPL/.test(license))).toEqual([]);
    expect(licences.map(([name]) => name).filter((name) => name.includes('@onehead'))).toEqual([
      `node_modules/@onehead/${system}`,
    ]);
  });

  it('contains no native code, and requires addons of the same version', () => {
    const [main] = packed;
    expect(main.files?.filter((file) => /\.(node|so|cc|cu|h|gyp)$|^(native|scripts)\//.test(file))).toEqual([]);
    expect(main.manifest).toMatchObject({
      optionalDependencies: { '@onehead/linux-x64': version, '@onehead/linux-arm64': version },
      peerDependencies: { '@onehead/linux-x64-cuda': version },
      peerDependenciesMeta: { '@onehead/linux-x64-cuda': { optional: true } },
    });
    expect(main.manifest).not.toHaveProperty('scripts');
    expect(main.manifest).not.toHaveProperty('devDependencies');
    expect(main.manifest).not.toHaveProperty('binary');
  });

  it('loads the addon that ONEHEAD_ADDON names, or explains why it cannot', async () => {
    const built = join(root, 'build/Release/onehead.node');
    const doctor = await project.run('npx', ['onehead', 'doctor'], { ONEHEAD_ADDON: built });
    expect(doctor.stdout).toContain(built);
    const { status, stderr } = await project.transcribe({ ONEHEAD_ADDON: '/nowhere/onehead.node' });
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('set the environment variable ONEHEAD_ADDON'),
    });
  });

  it('explains what AAC needs, and uses ffmpeg if it is installed', async () => {
    const file = join(recordings, 'tone.m4a');
    const { status, stderr } = await project.transcribe({}, file);
    expect(status).toBe(1);
    expect(stderr).toContain(
      'MP4 needs ffmpeg, or the decoders that `npm install @audio/decode-aac @audio/decode-mp4`',
    );
    if (!hasFfmpeg) return;
    const { PATH } = process.env;
    expect(await project.transcribe({ PATH: `${project.bin}:${PATH}` }, file)).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('one sentence explains what is missing', () => {
  const fails = async (env: Record<string, string>, sentence: RegExp, where = project) => {
    const { status, stderr } = await where.transcribe(env);
    expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringMatching(sentence) });
    expect(stderr.trim().split('\n')).toHaveLength(1);
  };

  it('the package: not installed, or for another system', async () => {
    const without = await installed('--omit=optional');
    await fails(
      {},
      new RegExp(`@onehead/${system}, is not installed.*npm install @onehead/${system}@${version}`),
      without,
    );
    const other = system === 'linux-arm64' ? 'linux-x64' : 'linux-arm64';
    const folder = join(without.modules, '@onehead', other);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: `@onehead/${other}`, version }));
    await fails({}, new RegExp(`node_modules was installed for ${other}, and this is ${system}`), without);
    without.close();
  });

  it('a binary of another architecture', async () => {
    const kept = readFileSync(join(project.addon, 'onehead.node'));
    const other = Buffer.from(kept);
    other.writeUInt16LE(243, 18); // an ELF file's machine: RISC-V
    rmSync(join(project.addon, 'onehead.node'));
    writeFileSync(join(project.addon, 'onehead.node'), other);
    await fails({}, /@onehead\/linux-\w+ cannot be loaded: it was built for riscv64, and this is \w+; reinstall it/);
    writeFileSync(join(project.addon, 'onehead.node'), kept);
  });

  it('an unsupported C library, which npm also detects', async () => {
    const without = await installed('--os=linux', '--libc=musl');
    expect(existsSync(without.addon)).toBe(false);
    await fails(pretending(withGlibc('{}')), /another C library \(musl, as in Alpine\)/, without);
    without.close();
  });

  it('an unsupported system or CPU', async () => {
    await fails(
      pretending("Object.defineProperty(process, 'arch', { value: 'riscv64' });"),
      /no packed addon for linux-riscv64/,
    );
  });

  it('a Node.js that is too old', async () => {
    const version = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } });";
    await fails(
      pretending(version),
      /^onehead: onehead needs Node\.js 20\.17 or newer, and this is 18\.20\.8; install/,
    );
    const script = "import('onehead').then(({ Whisper }) => Whisper.load()).catch(({ code }) => console.log(code))";
    const { stdout } = await project.run('node', ['-e', script], pretending(version));
    expect(stdout.trim()).toBe('ADDON_UNAVAILABLE');
  });

  it('a glibc that is too old', async () => {
    const old = `${withGlibc("{ glibcVersionRuntime: '2.17' }")}
      process.dlopen = () => { throw new Error("libc.so.6: version 'GLIBC_2.28' not found"); };`;
    await fails(pretending(old), /needs glibc 2\.\d+ or newer, and this system has 2\.17/);
  });

  it('a binary that does not load, with the system’s reason', async () => {
    const kept = readFileSync(join(project.addon, 'onehead.node'));
    rmSync(join(project.addon, 'onehead.node'));
    writeFileSync(join(project.addon, 'onehead.node'), 'this is no library');
    await fails(
      {},
      /onehead cannot load its addon: @onehead\/linux-\w+ cannot be loaded: .*(file too short|invalid ELF header)/,
    );
    writeFileSync(join(project.addon, 'onehead.node'), kept);
  });
});

describe.runIf(system === 'linux-x64')('on arm64', () => {
  it('npm installs only that package, which is loaded', async () => {
    const there = await installed('--os=linux', '--cpu=arm64', '--libc=glibc');
    expect(readdirSync(join(there.modules, '@onehead'))).toEqual(['linux-arm64']);
    const env = pretending("Object.defineProperty(process, 'arch', { value: 'arm64' });");
    expect(await there.transcribe(env)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(transcript),
      stderr: '',
    });
    const { stdout } = await there.run('npx', ['onehead', 'doctor'], env);
    expect(stdout).toContain(join(there.modules, '@onehead/linux-arm64/onehead.node'));
    there.close();
  });
});

describe.runIf(system === 'linux-x64')('the package with CUDA kernels, which is installed by name', () => {
  const cuda = () => join(project.modules, '@onehead/linux-x64-cuda');
  const put = (changed: object, broken = false) => {
    rmSync(cuda(), { recursive: true, force: true });
    cpSync(project.addon, cuda(), { recursive: true });
    const manifest = JSON.parse(readFileSync(join(cuda(), 'package.json'), 'utf8'));
    writeFileSync(join(cuda(), 'package.json'), JSON.stringify({ ...manifest, ...changed }));
    if (broken) {
      rmSync(join(cuda(), 'onehead.node'));
      writeFileSync(join(cuda(), 'onehead.node'), 'this is no library');
    }
  };
  afterAll(() => rmSync(cuda(), { recursive: true, force: true }));

  it('is loaded if it is installed', async () => {
    const there = await installed('@onehead/linux-x64-cuda');
    const { stdout } = await there.run('npx', ['onehead', 'doctor']);
    expect(stdout).toContain(join(there.modules, '@onehead/linux-x64-cuda/onehead.node'));
    there.close();
  });

  it('is skipped with a warning if it has another version or does not load', async () => {
    put({ version: '0.0.1' });
    const other = await project.transcribe();
    expect(other).toMatchObject({ status: 0, stdout: expect.stringMatching(transcript) });
    expect(other.stderr).toMatch(
      /linux-x64-cuda has version 0\.0\.1, and onehead .*npm install @onehead\/linux-x64-cuda@/,
    );
    put({}, true);
    const broken = await project.transcribe();
    expect(broken).toMatchObject({ status: 0, stdout: expect.stringMatching(transcript) });
    expect(broken.stderr).toMatch(/onehead uses @onehead\/linux-x64 .*linux-x64-cuda cannot be loaded: /);
    // The threads that decode audio load the addon too.
    expect(broken.stderr.match(/onehead uses/g)).toHaveLength(1);
  });
});
