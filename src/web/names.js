//! Names: which of them are in use, here and in the browser's other tabs, and one that is free.
import { Stentor } from './stentor.js';
import { recall } from './store.js';

const NAME_BYTES_MAX = 64;
const TABS_ANSWER_MS = 150;
const SERVER_ANSWERS_MS = 3_000;
const GOODBYE_MS = 300;

/** The server that this page came from, under whatever path. */
export const server = new URL('ws', import.meta.url);

/**
 * A token to connect with, which says who the user is: from behind the `#` of the page's address,
 * which no server and no log is told.
 */
export const token = new URLSearchParams(globalThis.location?.hash?.slice(1)).get('token');

const bytes = (text) => new TextEncoder().encode(text).length;
const random = () => Math.random().toString(36).slice(2);
const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export const guestName = () => `guest-${1000 + Math.floor(Math.random() * 9000)}`;

/** What is wrong with a name, or nothing. */
export function fault(label, name) {
  if (bytes(name) > NAME_BYTES_MAX) return `${label}: at most ${NAME_BYTES_MAX} bytes.`;
  const odd = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u.test(name);
  return odd ? `${label}: no control characters.` : '';
}

/** `name` with the first number that makes it free of those in use. */
export function another(name, used) {
  let stem = name.replace(/-\d{1,3}$/, '');
  while (bytes(stem) > NAME_BYTES_MAX - 5) stem = [...stem].slice(0, -1).join('');
  let n = 2;
  while (used.has(`${stem}-${n}`)) n += 1;
  return `${stem}-${n}`;
}

// ---- the other tabs ----

const tab = random();
let held = ''; // This tab's name, while it is connected or trying.
let others = null; // The channel of all tabs with this page; old browsers have none.
const listeners = new Set(); // Questions under way.

/** Tells tabs that ask which name this one has; an empty one is none. */
export const hold = (name) => { held = name; };

function openOthers() {
  if (!globalThis.BroadcastChannel) return;
  // Another path of the same host may be another server.
  others = new BroadcastChannel(`stentor.names ${server.pathname}`);
  others.onmessage = ({ data }) => {
    if (data.to === tab) listeners.forEach((hear) => hear(data.name));
    else if (data.from && held) others.postMessage({ to: data.from, name: held });
  };
}

/** The names that other tabs of this browser have. */
export async function namesOfTabs() {
  const names = new Set();
  if (!others) return names;
  const hear = (name) => names.add(name);
  listeners.add(hear);
  others.postMessage({ from: tab });
  await wait(TABS_ANSWER_MS);
  listeners.delete(hear);
  return names;
}

openOthers();
// An open one might keep the page out of the back/forward cache.
window.addEventListener('pagehide', () => others?.close());
window.addEventListener('pageshow', (event) => event.persisted && openOthers());

// ---- the server ----

/** The names in a channel: asked under a name that nobody has, as connecting takes a name. */
async function namesOnServer(channel) {
  const timeouts = { connectTimeout: SERVER_ANSWERS_MS, requestTimeout: SERVER_ANSWERS_MS };
  const asker = new Stentor(server, { user: `asker-${random()}`, ...timeouts });
  asker.on('close', () => asker.close()); // One attempt is enough.
  try {
    return new Set((await asker.who(channel)).users);
  } catch {
    return new Set(); // The connection to come will say what is wrong.
  } finally {
    asker.close();
  }
}

/**
 * The names in use in the browser's other tabs and in `channel`. Those who are in other channels of
 * other browsers cannot be told. The connection that this tab had as `name` before a reload is not
 * somebody else's.
 */
export async function namesInUse(channel, name) {
  if (token) return new Set(); // Nobody else can have it.
  const tabs = await namesOfTabs();
  const isOwn = recall('sessionStorage', 'name') === name;
  if (tabs.has(name) || (isOwn && isReload())) return tabs;
  let names = await namesOnServer(channel);
  for (let left = 3; isOwn && names.has(name) && left > 0; left -= 1) {
    await wait(GOODBYE_MS);
    names = await namesOnServer(channel);
  }
  return new Set([...tabs, ...names]);
}

const isReload = () => performance.getEntriesByType('navigation')[0]?.type === 'reload';
