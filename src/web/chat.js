//! The chat room at `/`: what the page shows, over the client library beside it.
import { add, note, openLog, save, toEnd } from './log.js';
import {
  another, fault, guestName, hold, namesInUse, namesOfTabs, server, token,
} from './names.js';
import { fill, recordOf } from './past.js';
import { address, at, isolate, names, showMe, showPeople } from './people.js';
import { Stentor } from './stentor.js';
import { keep, recall } from './store.js';
import { NOT_SENT, WHY, aboutMissed } from './words.js';

const NOBODY = { clients: 0, users: [], more: false };
const WHO_EVERY_MS = 10_000;
const QUOTED_MAX = 200;
const SMALL_ROOM_MAX = 20; // Up to here the log tells who comes and goes.

const put = (id, text) => at(id).textContent === text || (at(id).textContent = text);
// Safari ends a composition before it tells of the Enter that ended it, and then marks it so.
const isComposing = (event) => event.isComposing || event.keyCode === 229;

let client = null;
let room = '';
let me = '';
let isGuest = false;
let target = null; // Who the composer writes to; null is everyone.
let welcomed = false;
let everWelcomed = false;
let isIn = false; // The join is answered.
let closedBefore = false;
let retryAt = null;
let ending = null; // The close that led here.
let unread = 0;
let taken = ''; // The name that the dialog has found in use.
let offered = ''; // The name that the page, not the user, chose.
let asking = 0; // Counts what was asked about names, so that a late answer is none.

// ---- entering ----

/** Opens the dialog. `inUse` is a name that somebody else has, `used` are all such names. */
async function askWhere({ error = '', channel = '', inUse = '', used = new Set() } = {}) {
  const mine = (asking += 1);
  let user = inUse || (isGuest ? '' : me || recall('localStorage', 'user') || '');
  // Another tab may have the name that this browser remembers.
  const others = user && !me && !inUse ? await namesOfTabs() : used;
  if (mine !== asking) return;
  if (inUse || (!me && others.has(user))) user = offered = another(user, others);
  taken = inUse;
  at('channel').value = channel || room || new URLSearchParams(location.search).get('channel')
    || recall('localStorage', 'channel') || 'lobby';
  at('user').value = user;
  at('user').placeholder = isGuest ? me : 'a guest name';
  at('cancel').hidden = !client;
  at('entry-error').textContent = error;
  at('taken').hidden = !inUse;
  at('taken-name').textContent = inUse;
  at('take').textContent = `Take ${isolate(inUse)}`;
  openSide(false);
  if (!at('entry').open) at('entry').showModal();
  at(user ? 'join' : 'user').focus();
}

/** Enters, unless somebody else has the name: a guest gets another one then, others are asked. */
async function tryEnter(channel, user, guest = '') {
  const mine = (asking += 1);
  const name = user || guest;
  const isOwn = name === me && client && client.state !== 'disconnected';
  at('join').disabled = true;
  if (!client) {
    at('pill').dataset.state = 'connecting';
    put('state', 'Connecting…');
  }
  const used = name && !isOwn ? await namesInUse(channel, name) : new Set();
  at('join').disabled = false;
  if (mine !== asking) return;
  if (user && used.has(user)) return askWhere({ channel, inUse: user, used });
  at('entry').close();
  enter(channel, user, used.has(guest) ? '' : guest);
  at('text').focus();
}

function enter(channel, user, guest = '') {
  asking += 1;
  const old = client;
  client = null; // So that nothing the old one still says is shown.
  old?.close();
  welcomed = everWelcomed = isIn = closedBefore = false;
  ending = null;
  room = channel;
  isGuest = !user;
  me = user || guest || guestName();
  if (isGuest) keep('sessionStorage', 'guest', me); // Of this tab: two tabs are two guests.
  const query = new URLSearchParams({ channel, ...(user && { user }) });
  history.replaceState(null, '', `?${query}${location.hash}`);
  keep('localStorage', 'channel', channel);
  at('room').textContent = channel;
  showMe(me);
  writeTo(null);
  showPeople(NOBODY, me);
  showTitle();
  connect(openLog(room));
}

// ---- the connection ----

/** Connects as `me`, and enters the channel behind `since`, where the tab remembers its log. */
function connect(since) {
  const c = (client = new Stentor(server, token ? { token } : { user: me }));
  // What a client that was left behind still says is of no interest.
  const on = (type, run) => c.on(type, (detail) => c === client && run(detail));
  on('state', showState);
  on('message', hear);
  on('welcome', () => {
    welcomed = everWelcomed = true;
    if (token) me = showMe(c.user ?? 'anonymous');
    ending = null;
    keep('sessionStorage', 'name', me); // A reload takes it back without a question.
  });
  on('joined', (joined) => (joined.own ? arrived(joined) : moved(joined, 'joined')));
  on('left', (left) => left.own || moved(left, 'left'));
  on('crowd', moved);
  on('gap', ({ from, to }) => note(aboutMissed(to - from + 1), { kept: true }));
  on('error', (error) => note(`The server says: ${error.message}`, { bad: true }));
  on('close', (close) => {
    ending = close;
    if (welcomed && close.reason !== 'page hidden') note('Connection closed.', { kept: true });
    closedBefore ||= isIn;
    welcomed = isIn = false;
    if (close.code === 3500) keep('sessionStorage', 'name', '');
  });
  const join = (presence) => c.join(room, { presence, since }).catch((error) => {
    // A channel may keep to itself who comes and goes.
    if (presence && error.code === 'not_available') return join(false);
    const isRefused = c === client && !['disconnected', 'left'].includes(error.code);
    if (isRefused) askWhere({ error: error.message });
  });
  join(true);
}

async function arrived(joined) {
  const c = client;
  const again = closedBefore ? 'Connected again.' : '';
  isIn = true;
  closedBefore = false;
  refresh();
  // Also at the first join: the channel may have a past.
  const isCurrent = () => c === client;
  const missed = joined.recovered ? 0 : await fill(joined, { client, me, isCurrent });
  if (!isCurrent()) return;
  const lost = joined.recovered === false ? aboutMissed(missed) : '';
  if (again || lost) note(`${again} ${lost}`.trim(), { kept: true });
}

function showState({ state, retryInMs }) {
  hold(state === 'disconnected' ? '' : me);
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
  if (client.state !== 'disconnected') client.retryNow();
  else if (ending?.code !== 3500) comeBackAs(me);
  else if (isGuest) enter(room, '');
  else askAnother();
  at('text').focus();
}

/** The same connection again, if nobody else has taken its name meanwhile. */
async function comeBackAs(name) {
  const left = client;
  const mine = (asking += 1);
  const used = await namesInUse(room, name);
  if (mine !== asking || left !== client) return;
  if (!used.has(name)) return left.connect();
  if (isGuest) enter(room, '');
  else askWhere({ inUse: name, used });
}

/** After the name was taken away: it may be free again, but that is for the user to say. */
async function askAnother() {
  const left = client;
  const used = await namesInUse(room, me);
  if (left === client) askWhere({ inUse: me, used: used.add(me) });
}

// ---- who is here ----
let whoTimer = null;

function moved({ user }, verb) {
  if (Number(at('count').textContent) <= SMALL_ROOM_MAX && user) note(`${isolate(user)} ${verb}`);
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

function hear(message) {
  if (message.direct && message.from?.client === client.id) return; // Shown when it was sent.
  if (document.hidden) unread += 1;
  showTitle();
  add(recordOf(message, { client, me, epoch: client.position(room)?.epoch }));
}

function showTitle() {
  document.title = `${unread ? `(${unread}) ` : ''}#${isolate(room)} · Stentor`;
}

// ---- writing ----

function writeTo(name) {
  target = name;
  at('to-line').hidden = name === null;
  at('to').textContent = name ?? '';
  at('text').placeholder = `Message ${name === null ? '#' : ''}${isolate(name ?? room)}`;
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

function send() {
  const text = at('text').value;
  if (!text.trim()) return;
  if (!client) return askWhere();
  const { user, body } = address(text.trim(), target);
  if (!body) return showHint('Write it as /to NAME text.');
  if (client.state === 'disconnected') return showHint('You are disconnected: connect first.');
  const sender = client;
  const failed = (error) => {
    if (sender !== client) return;
    const problem = NOT_SENT[error.code] ?? `Not sent, ${error.message}`;
    const start = body.length > QUOTED_MAX ? `${body.slice(0, QUOTED_MAX)}…` : body;
    note(`${problem}: “${isolate(start)}”`, { kept: true, bad: true });
    if (!at('text').value && error.code !== 'lost') at('text').value = text;
    showHint(error.code === 'too_large' ? `Too long: ${error.message}.` : '');
    fit();
  };
  if (user) {
    sender.direct(user, body).then(() => sender === client && add({
      name: me, mine: true, direct: `to ${isolate(user)} alone`, text: body, time: Date.now(),
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
at('entry').addEventListener('close', () => { asking += 1; }); // What was asked for is off.
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
  if (isComposing(event)) return;
  if (event.key === 'Enter' && !event.shiftKey) {
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
  if (user && user !== offered) keep('localStorage', 'user', user);
  tryEnter(channel, user, isGuest ? me : '');
});
at('entry-form').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && isComposing(event)) event.preventDefault();
});
click('take', () => {
  at('entry').close();
  enter(at('channel').value.trim() || room, taken);
  at('text').focus();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !isComposing(event) && !at('shade').hidden) openSide(false);
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
if (!wrong && first && asked.has('user')) tryEnter(first, asked.get('user'), guest ?? '');
else if (!wrong && asked.get('channel') && (guest || token)) tryEnter(first, '', guest ?? '');
else askWhere({ error: wrong });
