// Prints what this SDK adds to a web page: bundled, minified, gzipped.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

async function size(label, code) {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: new URL('../dist', import.meta.url).pathname },
    bundle: true,
    tsconfigRaw: '{}',
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2020',
    platform: 'browser',
  });
  const bytes = outputFiles[0].contents;
  console.log(`${label}: ${bytes.length} bytes minified, ${gzipSync(bytes, { level: 9 }).length} gzipped`);
}

await size('everything', `export * from './index.js'`);
await size('MicsClient only', `export { MicsClient } from './index.js'`);
await size('MicsClient and AesGcmMessageCrypto', `export { MicsClient, AesGcmMessageCrypto } from './index.js'`);
await size('closeAction only', `export { closeAction } from './index.js'`);
