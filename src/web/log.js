//! The message log: its rows, and the history that this tab keeps over reconnects and reloads.
import { at, el, face } from './people.js';
import { keep, recall } from './store.js';

const RECORDS_MAX = 500;
const GROUP_MS = 120_000;
const NEAR_END_PX = 90;

let room = '';
let records = [];
let fresh = []; // Records that wait for the next frame of the screen.
let saveTimer = null;
let atEnd = true;

/**
 * Saves what is shown and shows what the tab remembers of `channel`. Returns how far that goes, as
 * a position to join with, or null.
 */
export function openLog(channel) {
  if (fresh.length) flush();
  save();
  room = channel;
  records = [];
  at('newest').hidden = true;
  const log = at('log');
  log.setAttribute('aria-live', 'off'); // Nobody wants to hear all of it again.
  at('messages').replaceChildren();
  for (const record of remembered().filter((r) => r.room === room)) {
    at('messages').append(row(record, records.at(-1)));
    records.push(record);
  }
  at('messages').querySelectorAll('.fresh').forEach((item) => item.classList.remove('fresh'));
  toEnd();
  setTimeout(() => log.removeAttribute('aria-live'), 300);
  const { epoch, offset } = records.findLast((r) => r.epoch) ?? {};
  return epoch ? { epoch, offset } : null;
}

/** Adds a message: `{name, mine, direct, text, data, offset, epoch, time}`. */
export function add(record) {
  fresh.push({ ...record, room });
  if (fresh.length > RECORDS_MAX) fresh.shift();
  if (fresh.length > 1) return;
  // One pass over the page for all that came meanwhile; a hidden page has no frames.
  if (document.hidden) setTimeout(flush, 200);
  else requestAnimationFrame(flush);
}

/** Adds a line about the room itself; `kept` ones outlive a reload. */
export const note = (text, { kept = false, bad = false } = {}) =>
  add({ note: true, text, kept, bad, time: Date.now() });

/** Adds messages of the past where they belong. Returns those that are new here. */
export function merge(past) {
  if (fresh.length) flush();
  const known = new Set(records.map((r) => `${r.epoch} ${r.offset}`));
  const news = past.filter((r) => !known.has(`${r.epoch} ${r.offset}`))
    .sort((a, b) => a.offset - b.offset).map((r) => ({ ...r, room }));
  if (!news.length) return news;
  const log = at('log');
  const fromEnd = log.scrollHeight - log.scrollTop;
  const [all, waiting] = [[], [...news]];
  for (const record of records) {
    while (waiting.length && isBefore(waiting[0], record)) all.push(waiting.shift());
    all.push(record);
  }
  records = [...all, ...waiting].slice(-RECORDS_MAX);
  log.setAttribute('aria-live', 'off');
  const rows = records.map((record, n) => row(record, records[n - 1]));
  rows.forEach((item) => item.classList.remove('fresh'));
  at('messages').replaceChildren(...rows);
  if (atEnd) toEnd();
  else log.scrollTop = log.scrollHeight - fromEnd;
  setTimeout(() => log.removeAttribute('aria-live'), 300);
  saveTimer ??= setTimeout(save, 500);
  return news;
}

// Offsets of one epoch are exact; times are of two clocks where a line is the page's own.
const isBefore = (a, b) => (a.epoch && a.epoch === b.epoch ? a.offset < b.offset : a.time < b.time);

export function toEnd() {
  at('log').scrollTop = at('log').scrollHeight;
  atEnd = true;
}

function flush() {
  const stick = atEnd || fresh.some((r) => r.mine);
  const nodes = fresh.map((record) => {
    const node = row(record, records.at(-1));
    records.push(record);
    return node;
  });
  fresh = [];
  records.splice(0, records.length - RECORDS_MAX);
  const messages = at('messages');
  messages.append(...nodes);
  while (messages.childElementCount > RECORDS_MAX) messages.firstElementChild.remove();
  if (stick) toEnd();
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
  item.classList.toggle('mine', !!mine);
  item.classList.toggle('direct', !!direct);
  item.classList.toggle('first', first);
  item.title = when.toLocaleString() + (offset ? ` · offset ${offset}` : '');
  if (first) {
    if (!mine) item.append(face(el('span', 'face'), name));
    item.append(heading(record, when));
  }
  const bubble = el('div', `bubble${data ? ' data' : ''}`, text);
  item.append(Object.assign(bubble, { dir: data ? 'ltr' : 'auto' }));
  return item;
}

function heading({ name, mine, direct }, when) {
  const who = el('p', 'who');
  // Own messages say so by their place; the word is for those who hear the page.
  const b = el('b', mine ? 'sr' : '');
  b.append(el('bdi', '', mine ? 'You' : name));
  who.append(b, ' ');
  if (direct) who.append(el('span', 'tag', direct), ' ');
  const clock = when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const time = { dateTime: when.toISOString(), dir: 'auto' };
  who.append(Object.assign(el('time', '', clock), time));
  return who;
}

function remembered() {
  try {
    return JSON.parse(recall('sessionStorage', 'history')) ?? [];
  } catch {
    return [];
  }
}

/** Keeps the tab's newest records, of all its channels, as far as the storage has room. */
export function save() {
  clearTimeout(saveTimer);
  saveTimer = null;
  if (!room) return;
  let all = remembered().filter((r) => r.room !== room)
    .concat([...records, ...fresh].filter((r) => !r.note || r.kept)).slice(-RECORDS_MAX);
  while (all.length && !keep('sessionStorage', 'history', JSON.stringify(all))) {
    all = all.slice(Math.ceil(all.length / 2));
  }
}

at('log').addEventListener('scroll', () => {
  const log = at('log');
  atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END_PX;
  if (atEnd) at('newest').hidden = true;
}, { passive: true });
// The composer grows, a keyboard opens: the end stays in sight.
new ResizeObserver(() => atEnd && toEnd()).observe(at('log'));
