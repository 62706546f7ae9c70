// A chat page: connect, send to a user or a group, see what comes.
import { AckStatus, MicsClient, utf8Decode } from '@mics/sdk-ts';

const $ = (id) => document.getElementById(id);

function log(line) {
  $('log').append(`${new Date().toLocaleTimeString()} ${line}\n`);
  $('log').scrollTop = $('log').scrollHeight;
}

const client = new MicsClient();
client.onStateChanged = (state) => ($('state').textContent = state);
client.onConnected = (session) => log(`connected as ${session.userId} to ${session.nodeId}`);
client.onDeliveryReceived = ({ message: m }) => log(`${m.groupId || m.userId}: ${utf8Decode(m.msgBody)}`);
client.onServerErrorReceived = ({ code, message }) => log(`error ${code} ${message}`);
client.onClosed = ({ code, reason, reconnecting }) => log(`closed ${code} ${reason}${reconnecting ? ', coming back' : ''}`);
client.onOverflow = (dropped) => log(`${dropped} messages lost: this page was too slow`);

$('connect').onsubmit = async (event) => {
  event.preventDefault();
  const { token, ...params } = Object.fromEntries(new FormData(event.target));
  try {
    await client.disconnect();
    // A real page asks its own back end here; the function is called again before every reconnect.
    await client.connect({ ...params, token: () => token });
  } catch (error) {
    log(`not connected: ${error.message}`);
  }
};

$('disconnect').onclick = () => client.disconnect();

$('send').onsubmit = async (event) => {
  event.preventDefault();
  const { to, group, text } = Object.fromEntries(new FormData(event.target));
  try {
    const ack = group
      ? await client.sendGroupChat({ groupId: to, msgBody: text })
      : await client.sendSingleChat({ toUserId: to, msgBody: text });
    log(`to ${to}: ${text} (${ack.status === AckStatus.SENT ? 'sent' : `failed: ${ack.reason}`})`);
    event.target.elements.text.value = '';
  } catch (error) {
    log(`not sent: ${error.message}`);
  }
};
