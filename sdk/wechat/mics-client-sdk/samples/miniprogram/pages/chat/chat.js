// A chat page. `libs/mics.js` is this SDK's dist/index.js (see the README); a project that builds npm packages
// writes require('@mics/wechat-mp-sdk') instead.
const { AckStatus, MicsClient, utf8Decode } = require('../../libs/mics.js');

Page({
  data: {
    state: 'disconnected',
    url: 'ws://localhost:8080/ws',
    token: 'valid:u1',
    to: 'u2',
    text: '',
    lines: [],
  },

  onLoad() {
    this.client = new MicsClient();
    this.client.onStateChanged = (state) => this.setData({ state });
    this.client.onDeliveryReceived = ({ message: m }) => this.log(`${m.groupId || m.userId}: ${utf8Decode(m.msgBody)}`);
    this.client.onClosed = ({ code, reason, reconnecting }) =>
      this.log(`closed ${code} ${reason}${reconnecting ? ', coming back' : ''}`);
  },

  onUnload() {
    this.client.disconnect();
  },

  onInput(event) {
    this.setData({ [event.currentTarget.dataset.name]: event.detail.value });
  },

  async onConnect() {
    const { url } = this.data;
    try {
      // A real program asks its own back end for the token here; the function is called again before every reconnect.
      const token = () => this.data.token;
      const session = await this.client.connect({ url, tenantId: 't1', token, deviceId: 'mini-program' });
      this.log(`connected as ${session.userId}`);
    } catch (error) {
      this.log(`not connected: ${error.message}`);
    }
  },

  onDisconnect() {
    return this.client.disconnect();
  },

  async onSend() {
    const { to, text } = this.data;
    try {
      const ack = await this.client.sendSingleChat({ toUserId: to, msgBody: text });
      this.log(`to ${to}: ${text} (${ack.status === AckStatus.SENT ? 'sent' : `failed: ${ack.reason}`})`);
      this.setData({ text: '' });
    } catch (error) {
      this.log(`not sent: ${error.message}`);
    }
  },

  log(line) {
    this.setData({ lines: [...this.data.lines.slice(-99), line] });
  },
});
