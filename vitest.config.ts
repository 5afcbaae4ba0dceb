import { configDefaults, defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A real checkpoint and real recordings are not the project's own: `npm run test:real` says where they are.
    exclude: [...configDefaults.exclude, ...(process.env.ONEHEAD_REAL_CHECKPOINT ? [] : ['test/real/**'])],
    globalSetup: 'test/global-setup.ts',
    pool: 'forks',
    coverage: { provider: 'v8', include: ['lib/**/*.ts'], reporter: ['text-summary', 'html'] },
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
