// Prints what this SDK adds to a mini program's package.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { transform } from 'esbuild';

const built = readFileSync(new URL('../dist/index.js', import.meta.url));
const { code } = await transform(built.toString(), { minify: true, target: 'es2017' });
console.log(`dist/index.js: ${built.length} bytes, ${code.length} minified, ${gzipSync(code, { level: 9 }).length} minified and gzipped`);
