//! The chat room at `/`: what the page shows, over the client library beside it.
import { Stentor } from './stentor.js';

const RECORDS_MAX = 500;
const WHO_EVERY_MS = 10_000;
const GROUP_MS = 120_000;
const NAME_BYTES_MAX = 64;
const SMALL_ROOM_MAX = 20; // Up to here the log tells who comes and goes.
const ENVELOPE_BYTES = 160; // What a message may carry around its body, channel and user.
const HINT = document.getElementById('hint').innerText;

const WHY = {
  1001: 'The server is going away.',
  1008: 'The server closed this connection for breaking one of its limits.',
  1009: 'The message was too large for this server.',
  3008: 'This connection was too slow for what the channel says.',
  3500: 'This name has connected from somewhere else, which ended the connection here.',
  3501: 'The server’s operator ended this connection.',
};
const NOT_SENT = {
  lost: 'The connection ended before the server confirmed this',
  dropped: 'Not sent, too much is waiting',
  timeout: 'Not confirmed in time',
  unknown_user: 'Not sent, nobody of that name is connected',
};

const at = (id) => document.getElementById(id);
const el = (tag, className, text = '') =>
  Object.assign(document.createElement(tag), { className, textContent: text });
const bytes = (text) => new TextEncoder().encode(text).length;

// Storage may be forbidden or full; the page then simply forgets.
const recall = (store, key) => {
  try { return window[store].getItem(`stentor.${key}`); } catch { return null; }
};
const keep = (store, key, value) => {
  try { window[store].setItem(`stentor.${key}`, value); return true; } catch { return false; }
};

let client = null;
let room = '';
let me = '';
let isGuest = false;
let target = null; // Who the composer writes to; null is everyone.
let people = [];
let records = [];
let fresh = []; // Records that wait for the next frame of the screen.
let welcomed = false;
let closedBefore = false;
let retryAt = null;
let ending = null; // The close that led here.
let unread = 0;
let messageBytesMax = Infinity;

// ---- entering ----

function guestName() {
  const name = `guest-${1000 + Math.floor(Math.random() * 9000)}`;
  keep('sessionStorage', 'guest', name); // Of this tab: two tabs are two guests.
  return name;
}

/** What is wrong with a name, or nothing. */
function fault(label, name) {
  if (bytes(name) > NAME_BYTES_MAX) return `${label}: at most ${NAME_BYTES_MAX} bytes.`;
  const odd = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u.test(name);
  return odd ? `${label}: no control characters.` : '';
}

function askWhere(error = '') {
  at('channel').value = room || new URLSearchParams(location.search).get('channel')
    || recall('localStorage', 'channel') || 'lobby';
  at('user').value = isGuest ? '' : me || recall('localStorage', 'user') || '';
  at('user').placeholder = isGuest ? me : 'a guest name';
  at('cancel').hidden = !client;
  at('entry-error').textContent = error;
  openSide(false);
  if (!at('entry').open) at('entry').showModal();
  at(at('user').value ? 'join' : 'user').focus();
}

function enter(channel, user, guest = '') {
  leave();
  room = channel;
  isGuest = !user;
  me = user || guest || guestName();
  const query = new URLSearchParams({ channel, ...(user && { user }) });
  history.replaceState(null, '', `?${query}`);
  keep('localStorage', 'channel', channel);
  if (user) keep('localStorage', 'user', user);
  at('room').textContent = channel;
  at('you').textContent = me;
  face(at('you-face'), me);
  writeTo(null);
  people = [];
  showPeople({ clients: 0, users: [], more: false });
  showTitle();
  if (records.length === 0) restore();
  connect();
}

function leave() {
  const old = client;
  client = null;
  old?.close();
  save();
  records = [];
  fresh = [];
  welcomed = closedBefore = false;
}

// ---- the connection ----

function connect() {
  const c = (client = new Stentor('/ws', { user: me }));
  // What a client that was left behind still says is of no interest.
  const on = (type, run) => c.on(type, (detail) => c === client && run(detail));
  on('state', showState);
  on('message', hear);
  on('welcome', (welcome) => {
    welcomed = true;
    ending = null;
    messageBytesMax = welcome.message_bytes ?? Infinity;
  });
  on('joined', (joined) => (joined.own ? arrived(joined) : moved(joined, 'joined')));
  on('left', (left) => left.own || moved(left, 'left'));
  on('error', (error) => note(`The server says: ${error.message}`, { bad: true }));
  on('close', (close) => {
    ending = close;
    if (welcomed && close.reason !== 'page hidden') note('Connection closed.', { kept: true });
    closedBefore ||= welcomed;
    welcomed = false;
  });
  c.join(room, { presence: true }).catch((error) => {
    if (c === client && !['disconnected', 'left'].includes(error.code)) askWhere(error.message);
  });
}

function arrived({ missed }) {
  if (closedBefore) {
    const lost = missed ? ` ${missed === 1 ? 'One message was' : `${missed} messages were`} missed.` : '';
    note(`Connected again.${lost}`, { kept: true });
  }
  closedBefore = false;
  refresh();
}

function showState({ state, retryInMs }) {
  at('pill').dataset.state = state;
  retryAt = retryInMs === null ? null : performance.now() + retryInMs;
  at('latency').hidden = true;
  at('disconnect').textContent = state === 'disconnected' ? 'Connect' : 'Disconnect';
  if (state === 'connecting' && retryInMs === null && !ending) at('banner').hidden = true;
  else at('banner').hidden = state === 'connected';
  const said = { connected: 'Connected.', disconnected: 'Disconnected.', connecting: 'Connecting.' };
  if (at('announce').textContent !== said[state]) at('announce').textContent = said[state];
  if (state === 'disconnected') showPeople({ clients: 0, users: [], more: false });
  countDown();
  showHint();
}

function countDown() {
  if (!client) return;
  const { state } = client;
  const seconds = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
  const trying = seconds ? `Next try in ${seconds} s.` : 'Trying now…';
  const pill = { connected: 'Connected', disconnected: 'Disconnected' }[state]
    ?? (seconds ? `Reconnecting in ${seconds} s` : 'Connecting…');
  const why = WHY[ending?.code] ?? (ending?.code === 1000 ? 'You are disconnected.'
    : state === 'disconnected' ? `The connection ended for good: ${ending?.reason || ending?.code}.`
      : 'The connection is lost.');
  const put = (id, text) => at(id).textContent === text || (at(id).textContent = text);
  put('state', pill);
  put('banner-text', state === 'disconnected' ? why : `${why} ${trying}`);
  put('retry', state !== 'disconnected' ? 'Reconnect now'
    : ending?.code === 1000 ? 'Connect' : isGuest ? 'Come back as another guest' : 'Come back');
}

function comeBack() {
  if (client.state === 'disconnected' && ending?.code === 3500 && isGuest) {
    enter(room, ''); // The old guest name lives on in the tab that took it.
  } else client.retryNow();
  at('text').focus();
}

// ---- who is here ----

let whoTimer = null;

function moved({ user }, verb) {
  if (Number(at('count').textContent) <= SMALL_ROOM_MAX && user) note(`${user} ${verb}`);
  // Many come at once after a restart: one question answers for all of them.
  whoTimer ??= setTimeout(refresh, 300 + Math.min(5_000, people.length * 20));
}

async function refresh() {
  clearTimeout(whoTimer);
  whoTimer = null;
  const asked = client;
  if (document.hidden || asked?.state !== 'connected') return;
  try {
    const [who, latency] = await Promise.all([asked.who(room), asked.ping()]);
    if (asked !== client || asked.state !== 'connected') return;
    showPeople(who);
    at('latency').textContent = latency < 9.5 ? `${latency.toFixed(1)} ms` : `${Math.round(latency)} ms`;
    at('latency').hidden = false;
  } catch {
    // The next round asks again; the state says if the connection is at fault.
  }
}

function showPeople({ clients, users, more }) {
  at('count').textContent = at('here-count').textContent = clients;
  const rest = clients - users.length;
  at('people-note').hidden = !more && rest <= 0;
  at('people-note').textContent = more ? `The first ${users.length} are shown.`
    : `${rest} more ${rest === 1 ? 'connection' : 'connections'} without a name of their own.`;
  const sorted = [...users].sort((a, b) => (b === me) - (a === me) || a.localeCompare(b));
  if (sorted.join('\n') === people.join('\n')) return;
  people = sorted;
  const focused = document.activeElement?.dataset.name;
  at('people').replaceChildren(...people.map((name) => {
    const row = el(name === me ? 'div' : 'button', 'person');
    row.append(face(el('span', 'face'), name), el('span', 'name', name));
    if (name === me) row.append(el('span', 'me', 'you'));
    else Object.assign(row, { type: 'button', title: `Write to ${name} alone` }).dataset.name = name;
    const item = el('li', '');
    item.append(row);
    return item;
  }));
  if (focused) [...at('people').querySelectorAll('button')].find((b) => b.dataset.name === focused)?.focus();
}

function face(node, name) {
  let hue = 7;
  for (const c of name) hue = (hue * 31 + c.codePointAt(0)) % 360;
  node.style.setProperty('--hue', hue);
  node.setAttribute('aria-hidden', 'true');
  const [first, ...more] = name.split(/[\s._-]+/).filter(Boolean);
  node.textContent = [...(first ?? '?')].slice(0, 1).concat([...(more.at(-1) ?? '')].slice(0, 1))
    .join('').toUpperCase();
  return node;
}

function openSide(open) {
  const was = at('side').classList.toggle('open', open) ? false : at('shade').hidden === false;
  at('shade').hidden = !open;
  at('here').setAttribute('aria-expanded', open);
  document.querySelectorAll('.top, .main').forEach((part) => { part.inert = open; });
  if (open) at('side-close').focus();
  else if (was) at('here').focus();
}

// ---- the log ----

function hear({ from, body, direct, encoding, offset, time }) {
  if (direct && from?.client === client.id) return; // Shown when it was sent.
  const data = typeof body !== 'string';
  add({
    name: from ? from.user ?? 'anonymous' : 'server',
    mine: !!from && (from.client === client.id || (from.user !== null && from.user === me)),
    direct: direct && 'to you alone',
    text: encoding === 'base64' ? `${Math.floor(body.length * 3 / 4)} bytes of binary`
      : data ? JSON.stringify(body, null, 2) : body,
    data: data || encoding === 'base64',
    offset,
    time,
  });
}

const note = (text, { kept = false, bad = false } = {}) => add({ note: true, text, kept, bad, time: Date.now() });

function add(record) {
  fresh.push({ ...record, room });
  if (fresh.length > RECORDS_MAX) fresh.shift();
  if (document.hidden && !record.note) unread += 1;
  showTitle();
  // One pass over the page for all that came meanwhile; a hidden page has no frames.
  if (fresh.length === 1) document.hidden ? setTimeout(flush, 200) : requestAnimationFrame(flush);
}

let saveTimer = null;

function flush() {
  const log = at('log');
  const stick = log.scrollHeight - log.scrollTop - log.clientHeight < 90 || fresh.some((r) => r.mine);
  const nodes = fresh.map((record) => {
    const node = row(record, records.at(-1));
    records.push(record);
    return node;
  });
  fresh = [];
  records.splice(0, records.length - RECORDS_MAX);
  at('messages').append(...nodes);
  while (at('messages').childElementCount > RECORDS_MAX) at('messages').firstElementChild.remove();
  if (stick) log.scrollTop = log.scrollHeight;
  else at('newest').hidden = false;
  saveTimer ??= setTimeout(save, 500);
}

function row(record, before) {
  if (record.note) return el('li', `note${record.bad ? ' bad' : ''}`, record.text);
  const { name, mine, direct, data, text, offset, time } = record;
  const first = !before || before.note || before.name !== name || before.direct !== direct
    || time - before.time > GROUP_MS;
  const when = new Date(time);
  const item = el('li', 'message fresh');
  item.classList.toggle('mine', mine);
  item.classList.toggle('direct', !!direct);
  item.classList.toggle('first', first);
  item.title = when.toLocaleString() + (offset ? ` · offset ${offset}` : '');
  if (first) {
    const who = el('p', 'who');
    // Own messages say so by their place; the name stays for those who hear the page.
    who.append(el('b', mine ? 'sr' : '', mine ? 'You' : name));
    if (direct) who.append(el('span', 'tag', direct));
    const clock = el('time', '', when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
    clock.dateTime = when.toISOString();
    who.append(clock);
    if (!mine) item.append(face(el('span', 'face'), name));
    item.append(who);
  }
  item.append(el('div', `bubble${data ? ' data' : ''}`, text));
  return item;
}

function restore() {
  const log = at('log');
  let old = [];
  try { old = JSON.parse(recall('sessionStorage', 'history')) ?? []; } catch { /* Begins anew. */ }
  at('newest').hidden = true;
  log.setAttribute('aria-live', 'off'); // Nobody wants to hear all of it again.
  at('messages').replaceChildren();
  for (const record of old.filter((r) => r.room === room)) {
    at('messages').append(row(record, records.at(-1)));
    records.push(record);
  }
  at('messages').querySelectorAll('.fresh').forEach((item) => item.classList.remove('fresh'));
  log.scrollTop = log.scrollHeight;
  setTimeout(() => log.removeAttribute('aria-live'), 300);
}

/** Keeps the tab's newest records, of all its channels, as far as the storage has room. */
function save() {
  clearTimeout(saveTimer);
  saveTimer = null;
  if (!room || !records.length) return;
  let others = [];
  try { others = JSON.parse(recall('sessionStorage', 'history')) ?? []; } catch { /* Begins anew. */ }
  let all = others.filter((r) => r.room !== room)
    .concat([...records, ...fresh].filter((r) => !r.note || r.kept)).slice(-RECORDS_MAX);
  while (all.length && !keep('sessionStorage', 'history', JSON.stringify(all))) {
    all = all.slice(Math.ceil(all.length / 2));
  }
}

function showTitle() {
  document.title = `${unread ? `(${unread}) ` : ''}#${room} · Stentor`;
}

// ---- writing ----

function writeTo(name) {
  target = name;
  at('to-line').hidden = name === null;
  at('to').textContent = name ?? '';
  at('text').placeholder = name === null ? `Message #${room}` : `Message ${name}`;
}

function showHint(problem = '') {
  const { state, queued } = client ?? { queued: 0 };
  const waiting = state === 'connecting' && queued
    ? `${queued} ${queued === 1 ? 'message waits' : 'messages wait'} for the connection.` : '';
  const hint = at('hint');
  hint.classList.toggle('bad', !!problem);
  if (problem || waiting || hint.innerText !== HINT) hint.textContent = problem || waiting || HINT;
}

function fit() {
  const text = at('text');
  text.style.height = 'auto';
  text.style.height = `${text.scrollHeight}px`;
}

/** Splits `/to NAME text`; a name with spaces is one of those here, or in quotes. */
function address(text) {
  if (!/^\/to(\s|$)/.test(text)) return { user: target, body: text };
  const rest = text.slice(3).trim();
  const known = people.filter((name) => rest.startsWith(`${name} `)).sort((a, b) => b.length - a.length)[0];
  if (known) return { user: known, body: rest.slice(known.length).trim() };
  const [, quoted, plain, body] = rest.match(/^(?:"([^"]+)"|(\S+))\s+([^]+)$/) ?? [];
  return { user: quoted ?? plain, body };
}

function send() {
  const text = at('text').value;
  if (!text.trim()) return;
  const { user, body } = address(text.trim());
  if (!body) return showHint('Write it as /to NAME text.');
  const size = bytes(JSON.stringify(body)) + bytes(user ?? room) + ENVELOPE_BYTES;
  if (size > messageBytesMax) return showHint(`Too long: about ${size} of ${messageBytesMax} bytes.`);
  if (client.state === 'disconnected') return showHint('You are disconnected: connect first.');
  const sender = client;
  const failed = (error) => {
    if (sender !== client) return;
    note(`${NOT_SENT[error.code] ?? `Not sent, ${error.message}`}: “${body}”`, { kept: true, bad: true });
    if (!at('text').value && error.code !== 'lost') at('text').value = text;
    showHint();
    fit();
  };
  if (user) {
    sender.direct(user, body).then(() => sender === client && add({
      name: me, mine: true, direct: `to ${user} alone`, text: body, time: Date.now(),
    }), failed);
  } else sender.publish(room, body).catch(failed);
  at('text').value = '';
  showHint();
  fit();
}

// ---- the page's own events ----

const click = (id, run) => at(id).addEventListener('click', run);
click('retry', comeBack);
click('disconnect', () => (client.state === 'disconnected' ? comeBack() : client.close()));
click('change', () => askWhere());
click('cancel', () => at('entry').close());
click('here', () => openSide(true));
click('side-close', () => openSide(false));
click('shade', () => openSide(false));
click('to-all', () => { writeTo(null); at('text').focus(); });
click('newest', () => { at('log').scrollTop = at('log').scrollHeight; at('text').focus(); });
click('people', (event) => {
  const name = event.target.closest('button')?.dataset.name;
  if (!name) return;
  openSide(false);
  writeTo(name);
  at('text').focus();
});
click('invite', async () => {
  const link = new URL(`?${new URLSearchParams({ channel: room })}`, location.href).href;
  const done = await navigator.clipboard?.writeText(link).then(() => true, () => false);
  if (!done) return prompt('The link to this channel:', link);
  at('invite').textContent = at('announce').textContent = 'Link copied';
  setTimeout(() => { at('invite').textContent = 'Copy invite link'; }, 2_000);
});
at('composer').addEventListener('submit', (event) => { event.preventDefault(); send(); });
at('text').addEventListener('input', () => { fit(); showHint(); });
at('text').addEventListener('keydown', (event) => {
  // An Enter that ends a composition (Chinese, Japanese) is not meant to send.
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  } else if (event.key === 'Escape' && target !== null) writeTo(null);
});
at('log').addEventListener('scroll', () => {
  const log = at('log');
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 90) at('newest').hidden = true;
}, { passive: true });
at('entry').addEventListener('cancel', (event) => client || event.preventDefault());
at('entry-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const channel = at('channel').value.trim();
  const user = at('user').value.trim();
  const wrong = (channel ? '' : 'Name a channel.') || fault('Channel', channel) || fault('Name', user);
  at('entry-error').textContent = wrong;
  if (wrong) return;
  at('entry').close();
  enter(channel, user, isGuest ? me : '');
  at('text').focus();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !at('shade').hidden) openSide(false);
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return save();
  unread = 0;
  showTitle();
  refresh();
});
window.addEventListener('pagehide', save);
window.matchMedia('(min-width: 761px)').addEventListener('change', () => openSide(false));
setInterval(refresh, WHO_EVERY_MS);
setInterval(countDown, 200);

const asked = new URLSearchParams(location.search);
const guest = recall('sessionStorage', 'guest');
const first = asked.get('channel') ?? 'lobby';
const wrong = fault('Channel', first) || fault('Name', asked.get('user') ?? '');
// An invitation names the channel only: the name is asked for, once a tab.
if (!wrong && first && asked.has('user')) enter(first, asked.get('user'), guest ?? '');
else if (!wrong && asked.get('channel') && guest) enter(first, '', guest);
else askWhere(wrong);
