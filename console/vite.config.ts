// Fixed file names, so that the gateway can embed them by name; no inlining, so that the page lives under a strict CSP.
import react from '@vitejs/plugin-react';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [react(), tailwindcss()],
  build: {
    assetsInlineLimit: 0,
    modulePreload: false,
    target: 'es2022',
    rollupOptions: {
      output: {
        entryFileNames: 'assets/console.js',
        assetFileNames: 'assets/console[extname]',
      },
    },
  },
  // `npm run dev` beside a gateway with ADMIN_PORT=9090.
  server: { proxy: { '/admin': { target: 'http://127.0.0.1:9090', changeOrigin: true } } },
  test: { include: ['src/**/*.test.ts'] },
});
