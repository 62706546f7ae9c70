// What the page's files promise without a browser: small, self-contained, nothing inline.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const folder = new URL('../../src/dev/page/', import.meta.url);
const files = new Map(readdirSync(folder).map((name) => [name, readFileSync(new URL(name, folder), 'utf8')]));

test('exactly the four files that the gateway embeds', () => {
  assert.deepEqual([...files.keys()].sort(), ['chat.js', 'codec.js', 'index.html', 'style.css']);
});

test('less than 40 KB all together', () => {
  const size = [...files.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  assert.ok(size < 40_000, `${size} bytes`);
});

test('nothing inline and nothing from elsewhere', () => {
  const html = files.get('index.html');
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:/i);
  for (const [name, text] of files) {
    const urls = text.match(/(https?:)?\/\/[\w.-]+\.\w+/g) ?? [];
    assert.deepEqual(urls.filter((url) => url !== 'http://www.w3.org'), [], name); // the name of the SVG namespace
  }
  assert.doesNotMatch(files.get('chat.js'), /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b/);
});

test('every id that the script asks for is on the page', () => {
  const ids = new Set([...files.get('index.html').matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id));
  const asked = [...files.get('chat.js').matchAll(/(?:\$|submitted)\('([^']+)'/g)].map(([, id]) => id);
  assert.ok(asked.length > 20);
  assert.deepEqual(asked.filter((id) => !ids.has(id)), []);
});
