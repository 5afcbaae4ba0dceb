/**
 * Uploads must not give access to other files of this computer or to network addresses, and must not use too much time
 * or memory.
 */
import { spawnSync } from 'node:child_process';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeWithFfmpeg, ffmpegLimits } from '../../lib/audio/ffmpeg.js';
import { OneheadError } from '../../lib/errors.js';
import { folder, hasFfmpeg, readAll } from './support.js';

const scratch = mkdtempSync(join(tmpdir(), 'onehead-security-'));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (name: string) => join(scratch, name);
const write = (name: string, content: string | Buffer, mode = 0o600) => {
  writeFileSync(at(name), content, { mode });
  return at(name);
};
const ffmpeg = (...args: string[]) => spawnSync('ffmpeg', ['-v', 'error', '-y', ...args], { maxBuffer: 1 << 26 });

// Bytes that do not occur in text, so that none of these is refused as text.
const binary = '\x01\x02\x03\x04\x05';

/** Playlists that name `target`, in every format that ffmpeg follows, by their usual extension. */
const playlists: Record<string, (target: string) => string> = {
  m3u8: (target) =>
    `#EXTM3U\n#${binary}\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n${target}\n#EXT-X-ENDLIST\n`,
  'master.m3u8': (target) => `#EXTM3U\n#${binary}\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp4a.40.2"\n${target}\n`,
  'key.m3u8': (target) =>
    `#EXTM3U\n#${binary}\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI="${target}"\n#EXTINF:9,\n${target}\n#EXT-X-ENDLIST\n`,
  ffconcat: (target) => `ffconcat version 1.0\n#${binary}\nfile '${target}'\n`,
  mpd: (target) => `<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static"
 mediaPresentationDuration="PT9S"><!--${binary}--><Period><AdaptationSet contentType="audio"><Representation id="0"
 mimeType="audio/mp4" codecs="mp4a.40.2" bandwidth="64000"><BaseURL>${target}</BaseURL><SegmentList duration="9">
<SegmentURL media="${target}"/></SegmentList></Representation></AdaptationSet></Period></MPD>`,
  imf: (target) => `<?xml version="1.0"?>
<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><!--${binary}--><Id>urn:uuid:${target}</Id>
</CompositionPlaylist>`,
  sdp: (target) =>
    `v=0\no=- 0 0 IN IP4 127.0.0.1\ns=${binary}\nc=IN IP4 127.0.0.1\nt=0 0\na=control:${target}\nm=audio 9 RTP/AVP 0\n`,
  cue: (target) => `REM ${binary}\nFILE "${target}" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n`,
  pls: (target) => `[playlist]\n;${binary}\nFile1=${target}\nNumberOfEntries=1\n`,
  asx: (target) => `<asx version="3.0"><!--${binary}--><entry><ref href="${target}"/></entry></asx>`,
  rtsp: (target) => `RTSPtext\n${binary}\nrtsp://127.0.0.1:9/${target}\n`,
  smil: (target) => `<smil><!--${binary}--><body><audio src="${target}"/></body></smil>`,
  ffmetadata: (target) => `;FFMETADATA1\n;${binary}\ntitle=${target}\n`,
  lavfi: (target) => `amovie=${target}\n#${binary}\n`,
  sbg: (target) => `# ${binary}\n-SE -m ${target}\na: 300+10/80\nNOW a\n`,
  idx: (target) => `# VobSub index file, v7 (do not modify this line!)\n#${binary}\nid: en, index: 0\n# ${target}\n`,
};

// The rest of the file's name is the target: ffmpeg's image formats read it as a pattern.
const patterns = ['secret-%d.png', 'secret-*.dpx'];

describe.skipIf(!hasFfmpeg)('a file that names others (skipped where ffmpeg is not installed)', () => {
  beforeAll(() => {
    for (const format of ['wav', 'mp3', 'mp4', 'ts']) ffmpeg('-i', `${folder}tone.wav`, at(`secret.${format}`));
  });

  it('would be followed by ffmpeg without restrictions, so this test can fail', () => {
    const bytesRead = (name: string, target: string) => {
      const file = write(`control.${name}`, playlists[name](target));
      const options = name === 'ffconcat' ? ['-safe', '0'] : [];
      return ffmpeg(...options, '-i', file, '-f', 'f32le', '-').stdout.length;
    };
    expect(bytesRead('ffconcat', at('secret.wav'))).toBeGreaterThan(100_000);
    expect(bytesRead('m3u8', at('secret.ts'))).toBeGreaterThan(100_000);
  });

  it.each(Object.keys(playlists))('%s reveals nothing of them, as path, bytes and stream', async (name) => {
    const [plain, other] = name.includes('m3u8') ? ['secret.ts', 'secret.mp3'] : ['secret.wav', 'secret.mp4'];
    for (const target of [at(plain), pathToFileURL(at(other)).href]) {
      const content = Buffer.from(playlists[name](target), 'latin1');
      // With its usual extension, and with that of audio.
      const files = [write(`list.${name}`, content), write(`list-${name}.mp3`, content)];
      const inputs = [...files, content, createReadStream(files[0])];
      for (const result of await Promise.all(inputs.map((input) => readAll(input).catch((error: unknown) => error)))) {
        expect(result).toBeInstanceOf(OneheadError);
        expect(result).toMatchObject({ code: 'AUDIO_INVALID' });
      }
    }
  });

  it.each(patterns)('%s is not read as a pattern', async (name) => {
    const file = write(name, Buffer.from(`\x89PNG${binary}`, 'latin1'));
    await expect(readAll(file)).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
  });

  it('still allows files that need seeking', async () => {
    // Codecs that only ffmpeg decodes, in containers with the index after the audio.
    const made: [string, string[]][] = [
      ['adpcm.mov', ['-c:a', 'adpcm_ima_qt', '-f', 'mov']],
      ['voice.caf', ['-c:a', 'adpcm_ima_qt', '-f', 'caf']],
      ['film.avi', ['-c:a', 'adpcm_ms', '-f', 'avi']],
      ['tone.mxf', ['-ar', '48000', '-f', 'mxf']],
    ];
    for (const [name, args] of made) {
      const result = ffmpeg('-i', `${folder}tone.wav`, ...args, at(name));
      if (result.status !== 0) continue; // mxf wants a picture in some versions
      const { samples } = await readAll(at(name));
      expect(Math.abs(samples.length / 16000 - 1.5), name).toBeLessThan(0.1);
    }
    const bytes = spawnSync('cat', [at('adpcm.mov')], { maxBuffer: 1 << 26 }).stdout;
    expect((await readAll(bytes)).samples.length).toBe((await readAll(at('adpcm.mov'))).samples.length);
  });
});

describe('ffmpeg: false', () => {
  it('never starts it', async () => {
    const [before, marker] = [process.env.PATH, at('called')];
    write('ffmpeg', `#!/bin/sh\ntouch ${marker}\n`, 0o700);
    process.env.PATH = scratch;
    try {
      await expect(readAll(`${folder}mono-8k.aiff`, { ffmpeg: false })).rejects.toMatchObject({
        code: 'AUDIO_INVALID',
        message: expect.stringMatching(/AIFF.*disabled/),
      });
      await expect(readAll(`${folder}tone.wav`, { ffmpeg: 'no' as unknown as boolean })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
      expect(spawnSync('/bin/ls', [marker]).status).not.toBe(0);
    } finally {
      process.env.PATH = before;
    }
  });
});

describe.skipIf(process.platform === 'win32')('the process of ffmpeg', () => {
  /** The result with another program in the place of ffmpeg. */
  async function decodeWith(script: string, limits = ffmpegLimits): Promise<unknown> {
    const before = process.env.PATH;
    write('ffmpeg', `#!/bin/sh\n${script}\n`, 0o700);
    process.env.PATH = scratch;
    try {
      async function* bytes() {
        yield new Uint8Array(9);
      }
      const signal = new AbortController().signal;
      const options = { limits };
      for await (const _ of decodeWithFfmpeg(bytes(), 'it', 'a test', signal, () => {}, options));
      return null;
    } catch (error) {
      return error;
    } finally {
      process.env.PATH = before;
    }
  }

  it('has limits of CPU time and files, and of memory if the system supports it', async () => {
    const error = await decodeWith('echo "$(ulimit -t) $(ulimit -f) $(ulimit -c) $(ulimit -v)" >&2; exit 1');
    const memory = process.platform === 'linux' ? String(ffmpegLimits.memory / 1024) : '.*';
    expect(String(error)).toMatch(new RegExp(`"${ffmpegLimits.computing} 0 0 ${memory}"`));
  });

  it('is ended when it writes nothing, or computes for too long', async () => {
    const limits = { ...ffmpegLimits, stall: 0.2 };
    expect(await decodeWith('cat >/dev/null; while :; do :; done', limits)).toMatchObject({
      code: 'AUDIO_INVALID',
      message: expect.stringContaining('wrote nothing'),
    });
    expect(await decodeWith('while :; do :; done', { ...ffmpegLimits, computing: 1 })).toMatchObject({
      code: 'AUDIO_INVALID',
      message: expect.stringContaining('was ended'),
    });
  });

  it('is not searched in the working directory', async () => {
    const before = process.env.PATH;
    process.env.PATH = `:.:${''}`;
    try {
      await expect(readAll(`${folder}mono-8k.aiff`)).rejects.toMatchObject({
        message: expect.stringContaining('install'),
      });
    } finally {
      process.env.PATH = before;
    }
  });
});
