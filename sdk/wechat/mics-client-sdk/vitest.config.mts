import { defineConfig } from 'vitest/config';

export default defineConfig({
  // The fake gateway is in ../../ts/test and finds `ws` here, wherever it was installed.
  resolve: { alias: { ws: new URL('./node_modules/ws/wrapper.mjs', import.meta.url).pathname } },
  test: { include: ['test/**/*.test.ts'], testTimeout: 30_000 },
});
