// The command loop that the conformance programs of the JavaScript client SDKs share.
import { createInterface } from 'node:readline';

const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const base64 = (bytes) => Buffer.from(bytes).toString('base64');

/** `makeClient(options, callbacks)` and `makeCrypto(keyBytes)` come from the SDK under test. */
export function serve({ makeClient, makeCrypto }) {
  let client;

  const callbacks = {
    onStateChanged: (state) => print({ event: 'state', state }),
    onConnected: (session) => print({ event: 'connected', session }),
    onDeliveryReceived: ({ message: m }) =>
      print({ event: 'delivery', msgId: m.msgId, from: m.userId, group: m.groupId, body: base64(m.msgBody) }),
    onServerErrorReceived: ({ code, message }) => print({ event: 'serverError', code, message }),
    onClosed: ({ code, reconnecting }) => print({ event: 'closed', code, terminal: !reconnecting }),
    onOverflow: (dropped) => print({ event: 'overflow', dropped }),
  };

  const send = async (call, { body, msgId, ...target }) => {
    const ack = await call.call(client, { ...target, msgBody: new Uint8Array(Buffer.from(body, 'base64')), msgId });
    return { ack: { msgId: ack.msgId, status: ack.status === 0 ? 'SENT' : 'FAILED', reason: ack.reason } };
  };

  const ops = {
    async connect({ url, tenantId, deviceId, tokens, key, options = {} }) {
      await client?.disconnect();
      const messageCrypto = key ? makeCrypto(new Uint8Array(Buffer.from(key, 'hex'))) : undefined;
      client = makeClient({ ...options, messageCrypto }, callbacks);
      const left = [...tokens];
      const token = () => (left.length > 1 ? left.shift() : left[0]);
      return { session: await client.connect({ url, tenantId, deviceId, token }) };
    },
    send: ({ to, body, msgId }) => send(client.sendSingleChat, { toUserId: to, body, msgId }),
    sendGroup: ({ group, body, msgId }) => send(client.sendGroupChat, { groupId: group, body, msgId }),
    async disconnect() {
      await client?.disconnect();
      return {};
    },
    async exit() {
      await client?.disconnect();
      // Ends by itself once the answer is written and nothing is open any more.
      input.close();
      return {};
    },
  };

  const input = createInterface({ input: process.stdin });
  input.on('line', async (line) => {
    if (!line.trim()) return;
    let n;
    try {
      const command = JSON.parse(line);
      n = command.n;
      if (!ops[command.op]) throw new Error(`unknown op ${command.op}`);
      print({ n, ok: true, ...(await ops[command.op](command)) });
    } catch (error) {
      print({ n, ok: false, error: error.message, code: error.closeCode });
    }
  });
  input.on('close', () => client?.disconnect().then(() => process.stdin.destroy()));
}
