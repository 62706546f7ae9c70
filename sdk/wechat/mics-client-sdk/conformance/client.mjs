// Conformance program: the built package, loaded as a mini program would, with `wx` over a real WebSocket.
import { serve } from '../../../ts/conformance/serve.mjs';
import { makeWx } from '../test/fake_wx.mjs';
import { loadSdk } from '../test/sandbox.mjs';

const { AesGcmMessageCrypto, MicsClient } = loadSdk(makeWx());

serve({
  makeClient: (options, callbacks) => new MicsClient(options, callbacks),
  makeCrypto: (key) => new AesGcmMessageCrypto(key),
});
