// Conformance program: commands as JSON lines on stdin, answers and events as JSON lines on stdout.
import { AesGcmMessageCrypto, MicsClient } from '../dist/index.js';
import { serve } from './serve.mjs';

serve({
  makeClient: (options, callbacks) => new MicsClient(options, callbacks),
  makeCrypto: (key) => new AesGcmMessageCrypto(key),
});
