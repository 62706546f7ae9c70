import { defineConfig } from 'vitest/config';

const own = (path: string) => new URL(`./node_modules/${path}`, import.meta.url).pathname;

export default defineConfig({
  // Helpers in ../../ts/test find their packages here, wherever they were installed.
  resolve: { alias: { protobufjs: own('protobufjs/index.js') } },
  test: { include: ['test/**/*.test.ts'], testTimeout: 30_000 },
});
