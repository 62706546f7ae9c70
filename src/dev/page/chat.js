// The chat page of `mics dev`: one tab is one device of one user, and shows the developer every frame it exchanges.
// It must not talk to any origin but its own, and puts whatever it received into the page as text only, never as markup.
import { decodeServerFrame, encodeClientFrame, FAILED, GROUP_CHAT, SINGLE_CHAT } from './codec.js';

const TENANT = 't1';
const USERS = ['u1', 'u2', 'u3', 'u4', 'u5'];
const CONNECT_TIMEOUT_MS = 5000;
const CLOSE_TIMEOUT_MS = 2000;
const ACK_TIMEOUT_MS = 3000;
const SEND_ATTEMPTS = 3;
const PING_EVERY_MS = 10_000;
const PONG_TIMEOUT_MS = 5000;
const RETRY_BASE_MS = 300;
const RETRY_CAP_MS = 10_000;
const STABLE_AFTER_MS = 5000; // a connection that lived this long earns a fresh back-off
const BACKLOG_GAP_MS = 1000; // the first burst after a connect ends with a silence this long
const FRAMES_KEPT = 50;
const MESSAGES_KEPT = 500; // per conversation
const HEX_BYTES_SHOWN = 4096;
const NODE_POLL_MS = 2000;

const CLOSE_MEANING = {
  1000: 'closed normally',
  1001: 'the gateway went away',
  1006: 'the connection was lost or never came about',
  4001: 'login refused',
  4002: 'unknown tenant',
  4100: 'no heartbeat in time',
  4200: 'the node is draining',
  4408: 'this page read too slowly',
  4409: 'replaced by a newer connection of this device',
  4429: 'limit reached, or the device is already connected',
};
const TERMINAL_CODES = new Set([4001, 4002, 4409]); // trying again would give the same answer

const $ = (id) => document.getElementById(id);
const toUtf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
const toHex = (bytes, gap = '') => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(gap);
const clock = (ms) => new Date(ms).toTimeString().slice(0, 8) + '.' + String(new Date(ms).getMilliseconds()).padStart(3, '0');

/** A message body for people: its text, or hex when it is not UTF-8. */
function bodyText(bytes) {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return `hex ${toHex(bytes.subarray(0, HEX_BYTES_SHOWN))}`;
  }
}

/** 32 hex digits of a random UUID; randomUUID exists on https and localhost only. */
function randomId() {
  if (crypto.randomUUID) return crypto.randomUUID().replaceAll('-', '');
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}

// ---------------------------------------------------------------------------------------------------- connection

/**
 * One WebSocket at a time, kept alive and replaced when it dies. `onState({name, ...})` tells connecting, connected
 * (node), reconnecting (at, why), closing, closed (why); `onFrame(type, fields)` tells every decoded server frame.
 */
class Connection {
  constructor(onState, onFrame) {
    this.onState = onState;
    this.onFrame = onFrame;
    this.socket = null;
    this.attempt = 0;
  }

  open(url) {
    this.drop();
    this.url = url;
    this.attempt = 0;
    this.dial();
  }

  /** Ends the connection, yet hears what the gateway had already sent: it counts as delivered. */
  close() {
    const closed = () => {
      this.drop();
      this.onState({ name: 'closed', why: 'disconnected by you' });
    };
    if (this.socket?.readyState !== WebSocket.OPEN) return closed();
    this.quiet();
    this.socket.onclose = closed;
    this.socket.close(1000);
    this.closeTimer = setTimeout(closed, CLOSE_TIMEOUT_MS);
    this.onState({ name: 'closing' });
  }

  send(frame) {
    if (!this.ready) return false;
    const bytes = encodeClientFrame(frame);
    this.socket.send(bytes);
    const [type, fields] = Object.entries(frame)[0];
    logFrame('out', type, fields, bytes);
    return true;
  }

  /** Tries at once what the back-off would try later. */
  hurry() {
    if (this.retryTimer) this.dial();
  }

  dial() {
    this.drop();
    this.dialledAt = Date.now();
    this.onState({ name: 'connecting' });
    const url = this.url;
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    socket.onmessage = (event) => { if (url === this.url) this.receive(event.data, socket === this.socket); };
    socket.onclose = (event) => this.lost(event.code, event.reason);
    this.connectTimer = setTimeout(() => this.lost(0, 'no connect_ack in time'), CONNECT_TIMEOUT_MS);
  }

  /** `live` is false for the last words of a socket that was let go of. */
  receive(data, live) {
    if (typeof data === 'string') return logFrame('in', 'text (ignored)', { text: data }, toUtf8.encode(data));
    if (live) this.heardAt = performance.now();
    const bytes = new Uint8Array(data);
    let frame;
    try {
      frame = decodeServerFrame(bytes);
    } catch (error) {
      return logFrame('in', 'undecodable', { error: error.message }, bytes);
    }
    logFrame('in', frame.type || 'unknown', frame.fields, bytes);
    if (frame.type === 'connect_ack' && live) this.accepted(frame.fields);
    this.onFrame(frame.type, frame.fields);
  }

  accepted(ack) {
    clearTimeout(this.connectTimer);
    if (ack.code !== 1000) return this.lost(0, `connect_ack code ${ack.code}`);
    this.ready = true;
    this.stableTimer = setTimeout(() => { this.attempt = 0; }, STABLE_AFTER_MS);
    this.pingTimer = setInterval(() => this.ping(), PING_EVERY_MS);
    this.onState({ name: 'connected', node: ack.node_id });
  }

  ping() {
    const pingedAt = performance.now();
    this.send({ heartbeat_ping: { timestamp_ms: Date.now() } });
    this.pongTimer = setTimeout(() => {
      if (this.heardAt < pingedAt) this.lost(0, 'no pong in time');
    }, PONG_TIMEOUT_MS);
  }

  lost(code, reason) {
    this.drop();
    const why = [code ? `${code} ${CLOSE_MEANING[code] ?? 'unknown code'}` : '', reason].filter(Boolean).join(': ');
    if (TERMINAL_CODES.has(code)) return this.onState({ name: 'closed', why });
    const delay = Math.random() * Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** this.attempt); // full jitter
    this.attempt += 1;
    this.retryTimer = setTimeout(() => this.dial(), delay);
    this.onState({ name: 'reconnecting', at: Date.now() + delay, why });
  }

  /** Stops every timer and all sending. */
  quiet() {
    for (const timer of [this.connectTimer, this.stableTimer, this.pongTimer, this.retryTimer, this.closeTimer]) clearTimeout(timer);
    clearInterval(this.pingTimer);
    this.retryTimer = null;
    this.ready = false;
  }

  /** Lets go of the socket: its end no longer matters, but messages that it still carries do. */
  drop() {
    this.quiet();
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onclose = null;
    // Closing a socket that is still connecting makes the browser log an error.
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(1000);
    else socket.close(1000);
  }
}

// ------------------------------------------------------------------------------------------------------- chatting

let me = null; // {user, device} once chosen
let current = null; // the conversation in view
const conversations = new Map(); // 'user:u2' or 'group:group-1' -> {kind, name, entries, unread, button}
const entries = new Map(); // user, device and msg_id -> entry: a message with its place on the page
const pending = new Map(); // msg_id -> own entry that has no ack yet, in the order of sending
let connectedAt = 0; // when this connection was dialled, Unix ms
let backlogUntil = 0; // a delivery before this belongs to the first burst after the connect

const entryKey = (message) => JSON.stringify([message.user_id, message.device_id, message.msg_id]);

function conversation(kind, name) {
  const key = `${kind}:${name}`;
  if (!conversations.has(key)) {
    const button = element('button', { type: 'button', onclick: () => show(conversations.get(key)) });
    button.dataset.conversation = key;
    conversations.set(key, { kind, name, entries: [], unread: 0, button });
    $('conversations').append(button);
    paintConversation(conversations.get(key));
  }
  return conversations.get(key);
}

function paintConversation(it) {
  it.button.replaceChildren(it.kind === 'group' ? `# ${it.name}` : it.name);
  if (it.unread) {
    it.button.append(element('span', { className: 'unread' }, String(it.unread), element('span', { className: 'hidden-label' }, ' unread')));
  }
  it.button.setAttribute('aria-current', String(it === current));
  const unread = [...conversations.values()].reduce((sum, each) => sum + each.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ''}${me ? `${me.user} · ` : ''}MICS dev chat`;
}

function show(it) {
  const before = current;
  current = it;
  it.unread = 0;
  if (before) paintConversation(before);
  paintConversation(it);
  $('chat-title').textContent = `${me.user} → ${it.kind === 'group' ? `group ${it.name}` : it.name}`;
  $('messages').replaceChildren(...it.entries.map((entry) => entry.node));
  $('messages').scrollTop = $('messages').scrollHeight;
}

/** Puts a message at the end of its conversation. `mine` is what this tab's user sent, from any device. */
function addEntry(message, { state, backlog = false }) {
  const mine = message.user_id === me.user;
  const it = message.msg_type === GROUP_CHAT ? conversation('group', message.group_id)
    : conversation('user', mine ? message.to_user_id : message.user_id);
  const ack = element('span', { className: 'ack' });
  const meta = element('div', { className: 'meta' }, `${message.user_id} (${message.device_id}) · ${clock(message.timestamp_ms)} `);
  if (backlog) meta.append(element('span', { className: 'badge backlog' }, 'offline backlog'));
  const node = element('li', { className: `msg ${mine ? 'out' : 'in'}` }, meta,
    element('div', { className: 'body' }, bodyText(message.msg_body)), ack);
  node.dataset.id = message.msg_id;
  const entry = { message, node, ack, deliveries: 0, attempts: 0 };
  entries.set(entryKey(message), entry);
  it.entries.push(entry);
  if (it.entries.length > MESSAGES_KEPT) {
    const oldest = it.entries.shift();
    entries.delete(entryKey(oldest.message));
    oldest.node.remove();
  }
  setState(entry, state, '');
  if (it === current) {
    const log = $('messages');
    const atEnd = mine || log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    log.append(node);
    if (atEnd) log.scrollTop = log.scrollHeight;
  } else {
    it.unread += 1;
    paintConversation(it);
  }
  return entry;
}

/** State is pending, sent, partial or failed for what this tab sent, received for the rest. */
function setState(entry, state, text) {
  entry.node.dataset.state = state;
  entry.text = text;
  const again = entry.deliveries > 1 ? `delivered ${entry.deliveries} times` : '';
  const echo = state !== 'received' && entry.deliveries ? 'came back to this device' : '';
  entry.ack.textContent = [text, echo, again].filter(Boolean).join(' · ');
}

function sendMessage(text) {
  const single = current.kind === 'user';
  const message = {
    tenant_id: TENANT, user_id: me.user, device_id: me.device, msg_id: randomId(),
    msg_type: single ? SINGLE_CHAT : GROUP_CHAT,
    to_user_id: single ? current.name : '', group_id: single ? '' : current.name,
    msg_body: toUtf8.encode(text), timestamp_ms: Date.now(),
  };
  const entry = addEntry(message, { state: 'pending' });
  pending.set(message.msg_id, entry);
  transmit(entry);
}

/** Sends or sends again, unchanged: the gateway knows a repetition by its msg_id. Offline, it waits for the connection. */
function transmit(entry) {
  clearTimeout(entry.timer);
  if (!connection.send({ message: entry.message })) return setState(entry, 'pending', 'pending, waits for the connection');
  entry.attempts += 1;
  entry.sentAt ??= performance.now();
  setState(entry, 'pending', entry.attempts > 1 ? `pending, attempt ${entry.attempts}` : 'pending');
  entry.timer = setTimeout(() => {
    if (entry.attempts < SEND_ATTEMPTS) return transmit(entry);
    pending.delete(entry.message.msg_id);
    setState(entry, 'failed', 'failed: no ack in time');
  }, ACK_TIMEOUT_MS);
}

function onAck(ack) {
  const entry = entries.get(entryKey({ user_id: me.user, device_id: me.device, msg_id: ack.msg_id }));
  if (!entry) return;
  clearTimeout(entry.timer);
  pending.delete(ack.msg_id);
  if (ack.status === FAILED) return setState(entry, 'failed', `failed: ${ack.reason || 'no reason given'}`);
  const counts = [
    [ack.offline_buffered_users, 'buffered'], [ack.offline_notified_users, 'notified'], [ack.offline_skipped_users, 'skipped'],
  ].filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(', ');
  const text = [
    ack.partial_delivery ? 'sent in part' : 'sent', counts && `offline: ${counts}`, ack.reason,
    `${(performance.now() - entry.sentAt).toFixed(0)} ms`,
  ].filter(Boolean).join(' · ');
  setState(entry, ack.partial_delivery ? 'partial' : 'sent', text);
}

function onDelivery({ message }) {
  if (!message) return;
  const inBurst = performance.now() < backlogUntil;
  if (inBurst) backlogUntil = performance.now() + BACKLOG_GAP_MS;
  const backlog = inBurst && message.timestamp_ms < connectedAt;
  const entry = entries.get(entryKey(message)) ?? addEntry(message, { state: 'received', backlog });
  entry.deliveries += 1;
  setState(entry, entry.node.dataset.state, entry.text);
}

// ------------------------------------------------------------------------------------------- connection and the page

const connection = new Connection(onState, (type, fields) => {
  if (type === 'ack') onAck(fields);
  if (type === 'delivery') onDelivery(fields);
});

function onState(state) {
  const text = {
    connecting: 'Connecting…', connected: `Connected to ${state.node}`,
    reconnecting: `Reconnecting (${state.why})`, closing: 'Disconnecting…', closed: `Closed: ${state.why}`,
  };
  $('connection').dataset.state = state.name;
  $('status').textContent = text[state.name];
  countDown(state.name === 'reconnecting' ? state.at : 0);
  paintControls(state.name);
  if (state.name === 'connected') {
    connectedAt = connection.dialledAt;
    backlogUntil = performance.now() + BACKLOG_GAP_MS;
    for (const entry of pending.values()) {
      entry.attempts = 0;
      transmit(entry);
    }
  } else {
    for (const entry of pending.values()) {
      clearTimeout(entry.timer);
      setState(entry, 'pending', 'pending, waits for the connection');
    }
  }
}

function paintControls(name) {
  const off = name === 'closed' || name === 'idle';
  const focused = document.activeElement;
  for (const input of [$('user'), $('device')]) input.disabled = !off;
  $('connect').hidden = !off;
  $('connect').textContent = me ? 'Reconnect' : 'Connect';
  $('disconnect').hidden = off;
  $('reconnect').hidden = off || name === 'connecting';
  $('quick').hidden = me !== null;
  $('tabs').hidden = me === null;
  $('chat').hidden = me === null;
  if (focused?.disabled || focused?.closest('[hidden]')) (off ? $('connect') : $('disconnect')).focus(); // the keyboard must not lose its place
}

let countdownTimer;
function countDown(at) {
  clearTimeout(countdownTimer);
  const left = at - Date.now();
  $('countdown').textContent = left > 0 ? `in ${(left / 1000).toFixed(1)} s` : '';
  if (left > 0) countdownTimer = setTimeout(() => countDown(at), 100);
}

function connectAs(user, device) {
  if (me?.user !== user || me?.device !== device) startOver(user, device);
  const socketUrl = new URL('/ws', location.href);
  socketUrl.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  socketUrl.search = new URLSearchParams({ tenantId: TENANT, token: `valid:${user}`, deviceId: device });
  connection.open(socketUrl);
}

/** A clean page for this user; the address keeps the choice so that a reload comes back to it. */
function startOver(user, device) {
  me = { user, device };
  current = null;
  for (const map of [conversations, entries, pending]) map.clear();
  $('conversations').replaceChildren();
  const others = USERS.filter((name) => name !== user);
  $('tab-users').replaceChildren(...others.flatMap((name) => {
    const link = element('a', { href: `/?user=${name}`, target: '_blank', rel: 'noopener' }, name);
    link.dataset.user = name;
    return [link, ' '];
  }));
  for (const name of others) conversation('user', name);
  conversation('group', 'group-1');
  show(conversation('user', others[0]));
  sessionStorage.setItem('device', device);
  const address = new URL(location.href);
  address.searchParams.set('user', user);
  history.replaceState(null, '', address);
}

// --------------------------------------------------------------------------------------------------- developer's view

/** JSON with spaces, so that it can wrap between words. */
function oneLine(value) {
  return JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? bodyText(part) : part), 1).replace(/\n */g, ' ');
}

function logFrame(direction, type, fields, bytes) {
  const json = oneLine(fields);
  const hex = element('pre', {});
  const details = element('details', {}, element('summary', {},
    element('span', { className: 'dir' }, direction === 'in' ? '↓ in' : '↑ out'), ` ${clock(Date.now())} `,
    element('b', {}, type), ` ${bytes.length} B`, element('code', {}, json.length > 600 ? `${json.slice(0, 600)}…` : json)), hex);
  details.ontoggle = () => {
    const rest = bytes.length - HEX_BYTES_SHOWN;
    hex.textContent = toHex(bytes.subarray(0, HEX_BYTES_SHOWN), ' ') + (rest > 0 ? ` … ${rest} more` : '');
  };
  const item = element('li', { className: `${direction}${type.startsWith('heartbeat') ? ' heartbeat' : ''}` }, details);
  item.dataset.type = type;
  $('frames').prepend(item);
  if ($('frames').childElementCount > FRAMES_KEPT) $('frames').lastElementChild.remove();
  $('frame-count').textContent = `last ${$('frames').childElementCount}`;
}

async function getJson(path) {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(5000) });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  return response.json();
}

function paintNode({ node, actors }, events) {
  $('node-name').textContent = node;
  $('actors').replaceChildren(...actors.map((actor) => element('tr', {},
    ...[actor.kind, actor.tenant, actor.name].map((text) => element('td', {}, text ?? '')),
    ...[`${actor.depth} / ${actor.capacity}`, actor.handled, actor.refused, actor.restarts].map((text) => element('td', { className: 'number' }, text)),
    element('td', {}, actor.state ? oneLine(actor.state) : ''))));
  const newestFirst = [...events].sort((a, b) => b.at_ms - a.at_ms);
  $('events').replaceChildren(...newestFirst.map((event) => element('li', {},
    `${clock(event.at_ms)} ${event.type} ${event.user ?? ''}${event.to ? ` → ${event.to}` : ''}${event.group ? ` → # ${event.group}` : ''} ${event.msg_id ?? ''}`)));
}

let nodeTimer;
async function pollNode() {
  clearTimeout(nodeTimer);
  if (!$('node-panel').open) return;
  if (!document.hidden) {
    try {
      paintNode(...await Promise.all([getJson('/debug/actors'), getJson('/debug/events')]));
      $('node-error').hidden = true;
    } catch (error) {
      $('node-error').textContent = error.message;
      $('node-error').hidden = false;
    }
  }
  clearTimeout(nodeTimer);
  nodeTimer = setTimeout(pollNode, NODE_POLL_MS);
}

// -------------------------------------------------------------------------------------------------------------- start

function submitted(id, handler) {
  $(id).addEventListener('submit', (event) => {
    event.preventDefault();
    handler();
  });
}

submitted('connect-form', () => {
  const [user, device] = [$('user').value.trim(), $('device').value.trim()];
  if (user && device) connectAs(user, device);
});
submitted('add-form', () => {
  const name = $('add-name').value.trim();
  if (name) show(conversation($('add-kind').value, name));
  $('add-name').value = '';
  $('text').focus();
});
submitted('composer', () => {
  if ($('text').value.trim()) sendMessage($('text').value);
  $('text').value = '';
});
$('text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('composer').requestSubmit();
});
$('disconnect').addEventListener('click', () => connection.close());
$('reconnect').addEventListener('click', () => connection.open(connection.url));
$('hide-heartbeats').addEventListener('change', (event) => $('frames').classList.toggle('no-heartbeats', event.target.checked));
$('clear-frames').addEventListener('click', () => {
  $('frames').replaceChildren();
  $('frame-count').textContent = 'last 0';
});
$('node-panel').addEventListener('toggle', pollNode);
addEventListener('online', () => connection.hurry());
document.addEventListener('visibilitychange', () => { if (!document.hidden) connection.hurry(); });
$('quick-users').append(...USERS.map((name) => {
  const button = element('button', { type: 'button', onclick: () => { $('user').value = name; $('connect-form').requestSubmit(); } }, name);
  button.dataset.user = name;
  return button;
}));

const query = new URLSearchParams(location.search);
$('user').value = query.get('user') ?? '';
$('device').value = query.get('device') || sessionStorage.getItem('device') || `web-${randomId().slice(0, 8)}`;
if ($('user').value) $('connect-form').requestSubmit();
