/** Loads the built package the way a mini program does: no Node, no DOM, only ECMAScript, timers and `wx`. */
import { readFileSync } from 'node:fs';
import vm from 'node:vm';

export function loadSdk(wx) {
  const code = readFileSync(new URL('../dist/index.js', import.meta.url), 'utf8');
  const module = { exports: {} };
  const require = (name) => {
    throw new Error(`a mini program cannot require ${name}`);
  };
  const sandbox = vm.createContext({ wx, module, exports: module.exports, require, setTimeout, clearTimeout, console });
  vm.runInContext(code, sandbox, { filename: 'index.js' });
  return module.exports;
}
