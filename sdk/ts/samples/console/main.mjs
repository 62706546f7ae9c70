// A chat on the console: every line goes to --toUserId (or --groupId).
//   node samples/console/main.mjs --url ws://localhost:8080/ws --tenantId t1 --token valid:u1 --deviceId dev1 --toUserId u2
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';
import { AckStatus, MicsClient, utf8Decode } from '@mics/sdk-ts';

const text = (value) => ({ type: 'string', default: value });
const { values } = parseArgs({
  options: {
    url: text('ws://localhost:8080/ws'),
    tenantId: text('t1'),
    token: text('valid:u1'),
    deviceId: text('dev1'),
    toUserId: text('u2'),
    groupId: text(''),
  },
});
const { toUserId, groupId, ...params } = values;

const client = new MicsClient();
client.onDeliveryReceived = ({ message: m }) => console.log(`${m.groupId || m.userId}: ${utf8Decode(m.msgBody)}`);
client.onClosed = ({ code, reason, reconnecting }) => {
  console.log(`closed ${code} ${reason}${reconnecting ? ', coming back' : ''}`);
  if (!reconnecting) process.exit(1);
};

const session = await client.connect(params);
console.log(`connected as ${session.userId} to ${session.nodeId}; type a line, end with Ctrl-D`);

for await (const line of createInterface({ input: process.stdin })) {
  const ack = groupId
    ? await client.sendGroupChat({ groupId, msgBody: line })
    : await client.sendSingleChat({ toUserId, msgBody: line });
  if (ack.status !== AckStatus.SENT) console.log(`failed: ${ack.reason}`);
}
await client.disconnect();
