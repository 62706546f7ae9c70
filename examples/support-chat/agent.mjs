// An agent of the desk on a console, with the TypeScript SDK on Node. Takes and prints the same as the Rust console chat.

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { AckStatus, MicsClient, MicsClientOptions } from "../../sdk/ts/dist/index.js";

const text = { type: "string" };
const { values: given } = parseArgs({ options: { url: text, tenantId: text, token: text, deviceId: text } });

const client = new MicsClient(MicsClientOptions.default({}));
client.onDeliveryReceived = ({ message }) => {
  const place = message.groupId ? ` in ${message.groupId}` : "";
  console.log(`${message.userId}${place}: ${new TextDecoder().decode(message.msgBody)}`);
};
const session = await client.connect(given);
console.log(`* connected as ${session.userId}`);

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "/quit") break;
  const end = line.indexOf(" ");
  const [target, msgBody] = [line.slice(1, end), new TextEncoder().encode(line.slice(end + 1))];
  const ack = line.startsWith("#")
    ? await client.sendGroupChat({ groupId: target, msgBody })
    : await client.sendSingleChat({ toUserId: target, msgBody });
  console.log(ack.status === AckStatus.SENT ? `* sent: ${line}` : `* refused (${ack.reason}): ${line}`);
}
await client.disconnect();
