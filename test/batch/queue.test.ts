/** The behaviour of all kinds of queues. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RedisQueue } from '../../lib/batch/bullmq.js';
import { MemoryQueue } from '../../lib/batch/memory.js';
import type { Claim, Queue, Recording, Summary } from '../../lib/batch/queue.js';
import { hasRedis, RedisServer } from './support.js';

let redis: RedisServer;
beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(async () => {
  await redis?.remove();
});

const recording = (id: string, bytes = 1000): Recording => ({
  id,
  source: `/recordings/${id}.wav`,
  name: id,
  bytes,
  options: { language: 'en' },
});
const summary: Summary = { duration: 3, elapsed: 20, key: 'k', repeated: false, incomplete: false, attempt: 1 };

const kinds: [string, () => Promise<Queue>][] = [
  ['in memory', async () => new MemoryQueue({ attempts: 3, pause: () => 50, wait: 300 })],
  ['on Redis', async () => RedisQueue.open({ url: redis.url, name: `test-${Math.random()}`, lock: 1500, attempts: 3 })],
];

async function claimed(queue: Queue): Promise<Claim> {
  for (let tries = 0; tries < 20; ++tries) {
    const claim = await queue.claim();
    if (claim) return claim;
  }
  throw new Error('Nothing to claim.');
}

describe.each(kinds)('a queue %s', (kind, open) => {
  const each = kind === 'on Redis' ? it.skipIf(!hasRedis) : it;
  async function using(work: (queue: Queue) => Promise<void>) {
    const queue = await open();
    try {
      await work(queue);
    } finally {
      await queue.close();
    }
  }

  each('hands out each recording once, the longest first, and counts states', () =>
    using(async (queue) => {
      const sizes = [10, 5000, 200, 70_000, 3];
      const added = await queue.add(sizes.map((bytes) => recording(`r${bytes}`, bytes)));
      expect(added).toEqual({ added: 5, known: 0, setAside: 0 });
      const claims = [];
      for (let i = 0; i < 5; ++i) claims.push(await claimed(queue));
      expect(claims.map((claim) => claim.recording.bytes)).toEqual([70_000, 5000, 200, 10, 3]);
      expect(claims[0].recording).toEqual(recording('r70000', 70_000));
      expect(claims.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1]);
      expect(await queue.claim()).toBeNull();
      expect((await queue.counts()).active).toBe(5);
      for (const claim of claims) expect(await claim.acknowledge(summary)).toBe(true);
      expect(await queue.counts()).toEqual({ waiting: 0, delayed: 0, active: 0, done: 5, failed: 0 });
      expect((await queue.done()).map((one) => one.summary)).toEqual(Array(5).fill(summary));
    }),
  );

  each('does not add a recording twice', () =>
    using(async (queue) => {
      await queue.add([recording('a')]);
      expect(await queue.add([recording('a'), recording('b')])).toEqual({ added: 1, known: 1, setAside: 0 });
      const claim = await claimed(queue);
      await claim.setAside('It is not audio.');
      expect(await queue.add([recording('a'), recording('b')])).toEqual({ added: 0, known: 2, setAside: 1 });
    }),
  );

  each('sets recordings aside, and retries them on request', () =>
    using(async (queue) => {
      await queue.add([recording('a')]);
      await (await claimed(queue)).setAside('It is not audio.');
      expect(await queue.failures()).toEqual([
        { id: 'a', source: '/recordings/a.wav', name: 'a', reason: 'It is not audio.', attempts: 1 },
      ]);
      expect(await queue.retry(['nobody'])).toBe(0);
      expect(await queue.retry(['/recordings/a.wav'])).toBe(1);
      const again = await claimed(queue);
      expect(again.attempt).toBe(2);
      expect(await again.acknowledge(summary)).toBe(true);
      expect(await queue.failures()).toEqual([]);
    }),
  );

  each('accepts empty recordings, and finds them by the beginning of their ids', () =>
    using(async (queue) => {
      const id = '0123456789abcdef';
      await queue.add([recording(id, 0)]);
      await (await claimed(queue)).setAside('It is empty.');
      expect(await queue.retry(['0123456'])).toBe(0);
      expect(await queue.retry(['01234567'])).toBe(1);
      expect((await queue.counts()).waiting).toBe(1);
    }),
  );

  each('continues a cancelled recording that is added again', () =>
    using(async (queue) => {
      await queue.add([recording('a')]);
      const claim = await claimed(queue);
      expect(await queue.cancel(['a'])).toBe(1);
      await queue.add([recording('a')]);
      // Either its worker continues, or it waits for another.
      const state = await claim.extend();
      const { waiting, active } = await queue.counts();
      expect([state, waiting, active]).toEqual(kind === 'on Redis' ? ['held', 0, 1] : ['cancelled', 1, 0]);
    }),
  );

  each('requeues released recordings without counting a failure', () =>
    using(async (queue) => {
      await queue.add([recording('a')]);
      for (let attempt = 1; attempt <= 5; ++attempt) {
        const claim = await claimed(queue);
        expect(claim.attempt).toBe(attempt);
        expect(await claim.release()).toBe(true);
        expect(await claim.acknowledge(summary)).toBe(false);
      }
      expect((await queue.counts()).failed).toBe(0);
    }),
  );

  each('removes waiting recordings, and cancels running ones', () =>
    using(async (queue) => {
      await queue.add([recording('a', 2), recording('b', 1)]);
      const claim = await claimed(queue);
      expect(await claim.extend({ processed: 1, total: 3 })).toBe('held');
      expect(await queue.active()).toEqual([{ recording: recording('a', 2), progress: { processed: 1, total: 3 } }]);
      expect(await queue.cancel('all')).toBe(2);
      expect(await claim.extend()).toBe('cancelled');
      expect(await claim.acknowledge(summary)).toBe(false);
      expect(await queue.counts()).toEqual({ waiting: 0, delayed: 0, active: 0, done: 0, failed: 0 });
      // Cancelled recordings can be added again.
      expect((await queue.add([recording('a', 2)])).added).toBe(1);
      const again = await claimed(queue);
      expect(await again.extend()).toBe('held');
      expect(await again.acknowledge(summary)).toBe(true);
    }),
  );

  each('agrees on the first value', () =>
    using(async (queue) => {
      expect(await queue.agree('model', 'one')).toBe('one');
      expect(await queue.agree('model', 'other')).toBe('one');
    }),
  );
});

describe('a queue in memory', () => {
  it('retries failures, and sets the recording aside after the last attempt', async () => {
    const queue = new MemoryQueue({ attempts: 3, pause: () => 20, wait: 500 });
    await queue.add([recording('a')]);
    for (let attempt = 1; attempt <= 3; ++attempt) {
      const claim = await claimed(queue);
      expect(claim.attempt).toBe(attempt);
      await claim.fail('The disk is full.');
    }
    expect(await queue.claim()).toBeNull();
    expect(await queue.failures()).toMatchObject([{ reason: 'The disk is full.', attempts: 3 }]);
  });

  it('neither waits longer nor retries sooner when the clock of the machine is set', async () => {
    const queue = new MemoryQueue({ pause: () => 500, wait: 300 });
    await queue.add([recording('a')]);
    const now = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now });
    try {
      await (await claimed(queue)).fail('The disk is full.');
      const early = queue.claim();
      vi.setSystemTime(now + 3_600_000);
      expect(await early).toBeNull();
      const retried = queue.claim();
      vi.setSystemTime(now - 3_600_000);
      expect((await retried)?.attempt).toBe(2);
      const none = queue.claim();
      vi.setSystemTime(now - 7_200_000);
      expect(await none).toBeNull();
    } finally {
      vi.useRealTimers();
    }
  });
});

describe.skipIf(!hasRedis)('a queue on Redis', () => {
  it('hands the recording of a crashed worker to another, and rejects the former', async () => {
    const options = { url: redis.url, name: 'dead', lock: 1000, attempts: 5 };
    const [one, other] = [await RedisQueue.open(options), await RedisQueue.open(options)];
    await one.add([recording('a')]);
    const lost = await claimed(one);
    const claim = await claimed(other); // the first claim was not extended
    expect(claim.attempt).toBe(2);
    expect(await lost.extend()).toBe('lost');
    expect(await lost.acknowledge(summary)).toBe(false);
    expect(await lost.fail('late')).toBe(false);
    expect(await claim.extend()).toBe('held');
    expect(await claim.acknowledge({ ...summary, attempt: 2 })).toBe(true);
    expect((await one.done()).map((done) => done.summary.attempt)).toEqual([2]);
    await one.close();
    await other.close();
  });

  it('sets aside a recording that crashes all workers', async () => {
    const queue = await RedisQueue.open({ url: redis.url, name: 'poison', lock: 1000, attempts: 2 });
    await queue.add([recording('a')]);
    await claimed(queue);
    await claimed(queue);
    for (let tries = 0; tries < 40 && (await queue.counts()).failed === 0; ++tries) await queue.claim();
    expect(await queue.failures()).toMatchObject([
      { id: 'a', reason: expect.stringMatching(/crashed or stopped responding/) },
    ]);
    expect(await queue.retry('all')).toBe(1);
    const again = await claimed(queue);
    expect(await again.acknowledge(summary)).toBe(true);
    await queue.close();
  }, 30_000);

  it('warns of risky settings of the server', async () => {
    await expect(RedisQueue.open({ url: 'redis://127.0.0.1:1' })).rejects.toMatchObject({ code: 'QUEUE_UNAVAILABLE' });
    await expect(RedisQueue.open({ url: 'http://user:secret@host' })).rejects.toThrow(
      /redis:\/\/host:6379.*'http:\/\/host'/,
    );
    await expect(RedisQueue.open({ url: redis.url, name: 'a b' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const queue = await RedisQueue.open({ url: redis.url });
    expect(await queue.risks()).toEqual([]);
    await queue.close();
  });
});
