// The dashboard: who may see it, the stream, and what is shown of it.

import { Actions } from './actions.js';
import { HeatMap, spark } from './heat.js';
import { follow } from './live.js';
import { Columns } from './model.js';
import { say, showAll, showChannels } from './views.js';

const $ = (id) => document.getElementById(id);

const KEY = 'stentor-key';
const heat = new HeatMap($('heat'), $('heat-tip'));

let key = sessionStorage.getItem(KEY) ?? '';
let columns = new Columns();
let bounds = [];
let mayAct = false;
let newest = null;
let isPaused = false;
let running = new AbortController();

const STATES = {
  connecting: 'Connecting', live: 'Live', paused: 'Paused', lost: 'Connection lost', busy: 'No answer',
  draining: 'Draining', full: 'Too many viewers', refused: 'Signed out',
};

function setState(name) {
  $('pill').dataset.state = name;
  say($('state'), STATES[name]);
  document.title = name === 'live' ? 'Stentor dashboard' : `${STATES[name]} – Stentor dashboard`;
}

function banner(text) {
  $('banner').hidden = !text;
  say($('banner'), text);
}

function draw() {
  if (!newest) return;
  showAll(newest, mayAct);
  heat.show(columns, bounds);
  for (const svg of document.querySelectorAll('[data-spark]')) {
    spark(svg, columns.series(svg.dataset.spark), columns.span);
  }
}

const on = {
  hello(told) {
    mayAct = told.may_act;
    bounds = told.bounds_us;
    columns = new Columns(told.columns);
    $('login').hidden = true;
    $('panels').hidden = false;
    $('pause').hidden = false;
    $('leave').hidden = !key;
    $('actions').hidden = !mayAct;
    banner('');
  },
  snapshot(snapshot) {
    newest = snapshot;
    columns.add(snapshot.column);
    if (isPaused) return;
    setState(snapshot.draining ? 'draining' : 'live');
    banner(snapshot.draining ? 'This server drains: it accepts nobody and closes its clients.' : '');
    draw();
  },
  unanswered() {
    setState('busy');
    banner('The shards do not answer in time. The numbers below are old.');
  },
  state(name, why) {
    setState(name);
    if (name === 'refused') askForKey(why);
    if (name === 'full') banner('As many people watch as the server allows. This page tries again.');
    if (name === 'lost' && newest) banner('The connection is lost. The numbers below are old; this page tries again.');
  },
};

function askForKey(why) {
  const wasWrong = Boolean(key);
  key = '';
  sessionStorage.removeItem(KEY);
  newest = null;
  banner('');
  $('panels').hidden = true;
  $('pause').hidden = true;
  $('leave').hidden = true;
  $('login').hidden = false;
  say($('login-error'), why || (wasWrong ? 'The server does not take this key.' : ''));
  $('key').value = '';
  $('key').focus();
}

function start() {
  running.abort();
  running = new AbortController();
  setState('connecting');
  follow(key, on, running.signal);
}

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  key = $('key').value.trim();
  sessionStorage.setItem(KEY, key);
  start();
});

$('leave').addEventListener('click', () => {
  running.abort();
  key = '';
  setState('refused');
  askForKey('');
});

$('pause').addEventListener('click', () => {
  isPaused = !isPaused;
  $('pause').setAttribute('aria-pressed', String(isPaused));
  if (isPaused) return setState('paused');
  setState('live');
  return draw();
});

for (const radio of document.querySelectorAll('[name=order]')) {
  radio.addEventListener('change', () => newest && showChannels(newest));
}

/** Calls a method of the API. */
async function call(method, body) {
  const headers = { 'Content-Type': 'application/json' };
  if (key) headers['X-API-Key'] = key;
  const answer = await fetch(`../api/${method}`, { method: 'POST', headers, body })
    .catch(() => { throw new Error('The server cannot be reached.'); });
  const told = await answer.json().catch(() => ({}));
  if (told.error) throw new Error(`The server refuses: ${told.error.message} (${told.error.code}).`);
  if (!answer.ok) throw new Error(`The server answers with status ${answer.status}.`);
  return told.result ?? {};
}

new Actions(call);
start();
