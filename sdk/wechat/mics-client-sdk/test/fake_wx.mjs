/**
 * `wx` as the mini program documentation describes it, over a real WebSocket: options with success, fail and complete;
 * several listeners per event; strings and ArrayBuffers only; five sockets at most; answers always come later.
 */
import { webcrypto } from 'node:crypto';
import { WebSocket } from 'ws';

const MAX_SOCKETS = 5;

export function makeWx() {
  const wx = { open: new Set(), broken: false, connectSocket, getRandomValues };

  function answer({ success, fail, complete }, errMsg, ok, more = {}) {
    setTimeout(() => {
      const result = { errMsg: `${errMsg}:${ok === true ? 'ok' : `fail ${ok}`}`, ...(ok === true ? more : {}) };
      (ok === true ? success : fail)?.(result);
      complete?.(result);
    });
  }

  function getRandomValues(options) {
    if (wx.broken) return answer(options, 'getRandomValues', 'internal error');
    if (typeof options.length !== 'number') throw new TypeError('parameter error: length should be Number');
    const { buffer } = webcrypto.getRandomValues(new Uint8Array(options.length));
    answer(options, 'getRandomValues', true, { randomValues: buffer });
  }

  function connectSocket(options) {
    if (typeof options?.url !== 'string') throw new TypeError('parameter error: url should be String');
    const listeners = { open: [], message: [], close: [], error: [] };
    const tell = (name, result) => listeners[name].slice().forEach((listener) => listener(result));
    const task = {
      onOpen: (listener) => void listeners.open.push(listener),
      onMessage: (listener) => void listeners.message.push(listener),
      onClose: (listener) => void listeners.close.push(listener),
      onError: (listener) => void listeners.error.push(listener),
      send: (o) => answer(o, 'sendSocketMessage', 'not connected'),
      close: (o = {}) => answer(o, 'closeSocket', 'not connected'),
    };
    if (wx.open.size >= MAX_SOCKETS) {
      answer(options, 'connectSocket', 'exceed max socket count');
      return task;
    }
    wx.open.add(task);
    const ws = new WebSocket(options.url, { perMessageDeflate: false });
    ws.binaryType = 'arraybuffer';
    answer(options, 'connectSocket', true);
    ws.onopen = () => tell('open', { header: {} });
    ws.onmessage = ({ data }) => tell('message', { data });
    ws.onerror = ({ message }) => tell('error', { errMsg: message });
    ws.onclose = ({ code, reason }) => {
      wx.open.delete(task);
      tell('close', { code, reason });
    };
    task.send = (o) => {
      const fits = typeof o.data === 'string' || Object.prototype.toString.call(o.data) === '[object ArrayBuffer]';
      if (!fits) throw new TypeError('parameter error: data should be String or ArrayBuffer');
      if (ws.readyState !== WebSocket.OPEN) return answer(o, 'sendSocketMessage', 'not connected');
      ws.send(o.data, (error) => answer(o, 'sendSocketMessage', error ? error.message : true));
    };
    task.close = (o = {}) => {
      const code = o.code ?? 1000;
      if (code !== 1000 && (code < 3000 || code > 4999)) return answer(o, 'closeSocket', 'invalid code');
      if (ws.readyState >= WebSocket.CLOSING) return answer(o, 'closeSocket', 'not connected');
      ws.close(code, o.reason);
      answer(o, 'closeSocket', true);
    };
    return task;
  }

  return wx;
}
