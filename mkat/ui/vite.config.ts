// The build: relative references, so that one build serves at the root and under any base path.
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  base: './',
  plugins: [react(), tailwindcss()],
  // Preloading writes nothing inline, but the polyfill for it would be dead weight.
  build: { modulePreload: { polyfill: false }, assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
  test: { include: ['src/**/*.test.ts'] },
  server: { proxy: { '/api': 'http://localhost:8090' } },
});
