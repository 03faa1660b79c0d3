//! The chat room at `/`: what the page shows, over the client library beside it.
import { add, keep, note, openLog, recall, save, toEnd } from './log.js';
import { at, face, names, showPeople } from './people.js';
import { Stentor } from './stentor.js';

const NOBODY = { clients: 0, users: [], more: false };
const WHO_EVERY_MS = 10_000;
const NAME_BYTES_MAX = 64;
const SMALL_ROOM_MAX = 20; // Up to here the log tells who comes and goes.
const ENVELOPE_BYTES = 160; // What a message may carry around its body, channel and user.

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

const put = (id, text) => at(id).textContent === text || (at(id).textContent = text);
const bytes = (text) => new TextEncoder().encode(text).length;

let client = null;
let room = '';
let me = '';
let isGuest = false;
let target = null; // Who the composer writes to; null is everyone.
let welcomed = false;
let everWelcomed = false;
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
  const old = client;
  client = null; // So that nothing the old one still says is shown.
  old?.close();
  welcomed = everWelcomed = closedBefore = false;
  ending = null;
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
  showPeople(NOBODY, me);
  showTitle();
  openLog(room);
  connect();
}

// ---- the connection ----

function connect() {
  const c = (client = new Stentor('/ws', { user: me }));
  // What a client that was left behind still says is of no interest.
  const on = (type, run) => c.on(type, (detail) => c === client && run(detail));
  on('state', showState);
  on('message', hear);
  on('welcome', (welcome) => {
    welcomed = everWelcomed = true;
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
    const lost = missed === 1 ? ' One message was missed.' : ` ${missed} messages were missed.`;
    note(`Connected again.${missed ? lost : ''}`, { kept: true });
  }
  closedBefore = false;
  refresh();
}

function showState({ state, retryInMs }) {
  at('pill').dataset.state = state;
  retryAt = retryInMs === null ? null : performance.now() + retryInMs;
  at('latency').hidden = true;
  at('disconnect').textContent = state === 'disconnected' ? 'Connect' : 'Disconnect';
  at('banner').hidden = state === 'connected' || !ending;
  // Once a change, not once a second: the countdown is for the eyes.
  put('announce', `${state[0].toUpperCase()}${state.slice(1)}.`);
  if (state === 'disconnected') showPeople(NOBODY, me);
  countDown();
  showHint();
}

function countDown() {
  if (!client) return;
  const { state } = client;
  const over = state === 'disconnected';
  const seconds = retryAt === null ? 0 : Math.ceil((retryAt - performance.now()) / 1000);
  if (state === 'connected') put('state', 'Connected');
  else if (over) put('state', 'Disconnected');
  else put('state', seconds > 0 ? `Reconnecting in ${seconds} s` : 'Connecting…');
  const next = seconds > 0 ? `Next try in ${seconds} s.` : 'Trying now…';
  put('banner-text', over ? why() : `${why()} ${next}`);
  if (!over) put('retry', 'Reconnect now');
  else if (ending?.code === 1000) put('retry', 'Connect');
  else put('retry', isGuest && ending?.code === 3500 ? 'Come back as another guest' : 'Come back');
}

function why() {
  if (WHY[ending?.code]) return WHY[ending.code];
  if (client.state !== 'disconnected') {
    return everWelcomed ? 'The connection is lost.'
      : 'The server does not answer, or refuses this name or channel.';
  }
  if (ending?.code === 1000) return 'You are disconnected.';
  return `The connection ended for good: ${ending?.reason || ending?.code}.`;
}

function comeBack() {
  if (!client) return askWhere();
  // A guest's old name lives on in the tab that took it.
  if (client.state === 'disconnected' && ending?.code === 3500 && isGuest) enter(room, '');
  else client.retryNow();
  at('text').focus();
}

// ---- who is here ----

let whoTimer = null;

function moved({ user }, verb) {
  if (Number(at('count').textContent) <= SMALL_ROOM_MAX && user) note(`${user} ${verb}`);
  // Many come at once after a restart: one question answers for all of them.
  whoTimer ??= setTimeout(refresh, 300 + Math.min(5_000, names().length * 20));
}

async function refresh() {
  clearTimeout(whoTimer);
  whoTimer = null;
  const asked = client;
  if (document.hidden || asked?.state !== 'connected') return;
  try {
    const who = await asked.who(room);
    const latency = await asked.ping(); // Alone, so that a long list does not count.
    if (asked !== client || asked.state !== 'connected') return;
    showPeople(who, me);
    at('latency').textContent = `${latency.toFixed(latency < 9.5 ? 1 : 0)} ms`;
    at('latency').hidden = false;
  } catch {
    // The next round asks again; the state says if the connection is at fault.
  }
}

function openSide(open) {
  const was = !at('shade').hidden;
  at('side').classList.toggle('open', open);
  at('shade').hidden = !open;
  at('here').setAttribute('aria-expanded', open);
  document.querySelectorAll('.top, .main').forEach((part) => { part.inert = open; });
  if (open) at('side-close').focus();
  else if (was) at('here').focus();
}

// ---- hearing ----

function hear({ from, body, direct, encoding, offset, time }) {
  if (direct && from?.client === client.id) return; // Shown when it was sent.
  const data = typeof body !== 'string';
  if (document.hidden) unread += 1;
  showTitle();
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
  const queued = client?.queued ?? 0;
  const waiting = queued === 1 ? '1 message waits for the connection.'
    : `${queued} messages wait for the connection.`;
  at('hint').classList.toggle('bad', !!problem);
  put('problem', problem || (queued ? waiting : ''));
  at('tip').hidden = !!at('problem').textContent;
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
  const known = names().filter((name) => rest.startsWith(`${name} `))
    .sort((a, b) => b.length - a.length)[0];
  if (known) return { user: known, body: rest.slice(known.length).trim() };
  const [, quoted, plain, body] = rest.match(/^(?:"([^"]+)"|(\S+))\s+([^]+)$/) ?? [];
  return { user: quoted ?? plain, body };
}

function send() {
  const text = at('text').value;
  if (!text.trim()) return;
  if (!client) return askWhere();
  const { user, body } = address(text.trim());
  if (!body) return showHint('Write it as /to NAME text.');
  const size = bytes(JSON.stringify(body)) + bytes(user ?? room) + ENVELOPE_BYTES;
  if (size > messageBytesMax) {
    return showHint(`Too long: about ${size} of ${messageBytesMax} bytes.`);
  }
  if (client.state === 'disconnected') return showHint('You are disconnected: connect first.');
  const sender = client;
  const failed = (error) => {
    if (sender !== client) return;
    const problem = NOT_SENT[error.code] ?? `Not sent, ${error.message}`;
    note(`${problem}: “${body}”`, { kept: true, bad: true });
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
click('disconnect', () => {
  if (client && client.state !== 'disconnected') client.close();
  else comeBack();
});
click('change', () => askWhere());
click('cancel', () => at('entry').close());
click('here', () => openSide(true));
click('side-close', () => openSide(false));
click('shade', () => openSide(false));
click('to-all', () => { writeTo(null); at('text').focus(); });
click('newest', () => { toEnd(); at('text').focus(); });
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
at('entry').addEventListener('cancel', (event) => client || event.preventDefault());
at('entry-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const channel = at('channel').value.trim();
  const user = at('user').value.trim();
  const wrong = channel ? fault('Channel', channel) || fault('Name', user) : 'Name a channel.';
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
