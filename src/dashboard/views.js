// The panels: each takes the newest snapshot and changes only what is different.

import { amount, bytes, count, duration, micros, percent, rate } from './format.js';
import { REASONS, headroom, imbalance, isTrouble, shareOf, urgency } from './model.js';

const $ = (id) => document.getElementById(id);

/** Sets a text where it is another one: a screen reader is not told of what has not changed. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Keeps one child for each item: focus and hover survive, as the rows do. */
export function each(parent, items, key, make, change) {
  const kept = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const name = String(key(item));
    const child = kept.get(name) ?? make(item);
    child.dataset.key = name;
    kept.delete(name);
    change(child, item);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  kept.forEach((child) => child.remove());
}

function element(tag, name, ...inside) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...inside);
  return node;
}

const row = (...cells) => () => element('tr', '', ...cells.map((name, index) => {
  const cell = element(index ? 'td' : 'th', name);
  if (!index) cell.scope = 'row';
  return cell;
}));

/** A cell with a bar behind its number. */
function bar(cell, text, share, kind = '') {
  if (!cell.firstChild) cell.append(element('span', 'meter', element('i')), element('b'));
  const [meter, label] = cell.children;
  meter.dataset.kind = kind;
  meter.firstChild.style.width = `${Math.min(share, 1) * 100}%`;
  say(label, text);
}

const number = (name, text) => document.querySelectorAll(`[data-n="${name}"]`).forEach((node) => say(node, text));

function tiles({ total, rates }) {
  number('clients', count(total.clients));
  number('deliveries', rate(rates?.total.deliveries));
  number('publications', rate(rates?.total.publications));
  number('busy', rates ? rates.total.busy_cores.toFixed(2) : '–');
  number('bytes_out', bytes(rates?.total.bytes_out));
  number('bytes_in', bytes(rates?.total.bytes_in));
  number('outboxes', bytes(total.outbox_bytes));
}

function shards({ shards, rates }) {
  const clients = shards.map((one) => one.clients);
  number('cores', `of ${shards.length}`);
  const apart = imbalance(clients);
  say($('shards-note'), apart > 1.5 && Math.max(...clients) > 20
    ? `the fullest has ${apart.toFixed(1)} times the mean` : '');
  each($('shards'), shards, (one) => one.shard,
    row('', 'bar', 'bar', 'n', 'n', 'n', 'n', 'n', 'n'), (line, one) => {
      const now = rates?.shards.find((other) => other.shard === one.shard);
      const [name, here, busy, ...rest] = line.children;
      say(name, `${one.shard} (core ${one.core})`);
      bar(here, count(one.clients), shareOf(one.clients, clients));
      bar(busy, now ? percent(now.busy) : '–', now?.busy ?? 0, urgency(now?.busy ?? 0));
      [rate(now?.deliveries), rate(now?.publications), rate(now?.turns),
        `${one.publish_lane_depth} + ${one.deliver_lane_depth}`, bytes(one.outbox_bytes),
        bytes(one.history_bytes)].forEach((text, index) => say(rest[index], text));
    });
}

function percentiles({ latency }) {
  const lines = [['last second', latency.last], ['since the start', latency.all]];
  each($('percentiles'), lines, ([name]) => name, row('', 'n', 'n', 'n', 'n', 'n'), (line, [name, one]) => {
    const times = ['p50_us', 'p99_us', 'p999_us', 'max_us'].map((key) => (one.count ? micros(one[key]) : '–'));
    [name, ...times, count(one.count)].forEach((text, index) => say(line.children[index], text));
  });
  const { last, all } = latency;
  say($('heat-text'), last.count
    ? `In the last second the median was ${micros(last.p50_us)}, and 99 % were within ${micros(last.p99_us)}.`
    : `Nothing was published in the last second. Since the start 99 % were within ${micros(all.p99_us)}.`);
}

function inWords({ limit, times }) {
  if (times < 1.05) return `No room is left: the limit is ${limit}.`;
  const often = times >= 100 ? 'more than 100' : `about ${times.toFixed(times < 10 ? 1 : 0)}`;
  return `There is room for ${often} times this load. First limit: ${limit}.`;
}

function limits({ limits, rates }) {
  const room = rates && headroom(limits, rates.shards);
  say($('headroom'), room ? inWords(room) : '');
  const make = () => element('li', 'limit', element('span', 'name'), element('span', 'value'),
    element('span', 'meter', element('i')));
  each($('limits'), limits, (one) => one.limit, make, (line, one) => {
    const [name, value, meter] = line.children;
    const share = one.max ? one.used / one.max : 0;
    say(name, one.limit);
    say(value, one.max === null ? `${amount(one.used, one.unit)}, no limit`
      : `${amount(one.used, one.unit)} of ${amount(one.max, one.unit)}`);
    meter.dataset.kind = urgency(share);
    meter.firstChild.style.width = `${Math.min(share, 1) * 100}%`;
  });
}

function ends({ ends }) {
  const list = Object.entries(ends.reasons).sort((a, b) => b[1] - a[1]);
  say($('ends-note'), ends.count ? `the last ${count(ends.count)}` : '');
  $('ends-empty').hidden = list.length > 0;
  const make = () => element('li', 'limit', element('span', 'name'), element('span', 'value'),
    element('span', 'meter', element('i')));
  each($('ends'), list, ([reason]) => reason, make, (line, [reason, ended]) => {
    const [name, value, meter] = line.children;
    say(name, REASONS[reason] ?? reason);
    say(value, `${count(ended)} (${percent(ended / ends.count)})`);
    meter.dataset.kind = isTrouble(reason) ? 'wait' : '';
    meter.firstChild.style.width = `${(ended / list[0][1]) * 100}%`;
  });
}

function channels({ channel_lists: lists }) {
  const order = document.querySelector('[name=order]:checked').value;
  const list = lists[order];
  const most = list.map((one) => (order === 'by_rate' ? one.rate : one.clients));
  each($('channels'), list, (one) => one.channel, row('name', 'bar n', 'n'), (line, one) => {
    const [name, clients, publications] = line.children;
    if (!name.firstChild) name.append(element('bdi'));
    say(name.firstChild, one.channel);
    name.title = one.channel;
    bar(clients, count(one.clients), order === 'by_rate' ? shareOf(one.rate, most) : shareOf(one.clients, most));
    say(publications, rate(one.rate));
  });
  $('channels-empty').hidden = list.length > 0;
  $('channels').closest('.scroll').hidden = !list.length;
  $('channels-note').hidden = !lists.truncated;
  say($('channels-note'), 'There are more channels than are looked at: the lists may lack some.');
}

function slowest({ connections, total }, mayAct) {
  say($('slow-note'), total.blocked_clients
    ? `${count(total.blocked_clients)} ${total.blocked_clients === 1 ? 'waits for its' : 'wait for their'} socket` : '');
  $('slow-empty').hidden = connections.length > 0;
  $('slow').closest('.scroll').hidden = !connections.length;
  const make = () => {
    const line = row('name', 'n', 'n', '', 'act')();
    line.children[0].append(element('bdi', 'who'), element('small', 'soft'));
    const button = element('button', 'button small', 'Disconnect');
    button.type = 'button';
    button.addEventListener('click', () => line.dispatchEvent(
      new CustomEvent('disconnect', { bubbles: true, detail: line.dataset })));
    line.children[4].append(button);
    return line;
  };
  each($('slow'), connections, (one) => one.client, make, (line, one) => {
    const [name, outbox, stands, protocol, act] = line.children;
    line.dataset.client = one.client;
    line.dataset.user = one.user ?? '';
    say(name.children[0], one.user ?? one.client);
    say(name.children[1], `${one.user ? `${one.client} · ` : ''}${one.peer ?? ''}`);
    say(outbox, bytes(one.queued_bytes));
    say(stands, duration(one.stalled_ms / 1000));
    say(protocol, one.protocol);
    act.firstChild.hidden = !mayAct;
    act.firstChild.setAttribute('aria-label', `Disconnect ${one.user ?? one.client}`);
  });
}

function certificates({ certificates: list }) {
  $('certificates-card').hidden = !list.length;
  const make = () => element('li', 'limit', element('span', 'name'), element('span', 'value'));
  each($('certificates'), list, (one) => one.file, make, (line, one) => {
    const left = one.end_s - Date.now() / 1000;
    const [name, value] = line.children;
    say(name, one.file);
    const until = new Date(one.end_s * 1000).toISOString().slice(0, 10);
    say(value, left > 0 ? `${duration(left)} left, until ${until}` : `expired on ${until}`);
    value.dataset.kind = left < 7 * 86_400 ? 'bad' : left < 30 * 86_400 ? 'wait' : 'good';
  });
}

/** Shows a snapshot in all panels. */
export function showAll(snapshot, mayAct) {
  say($('version'), snapshot.version);
  say($('uptime'), `up ${duration(snapshot.uptime_seconds)}`);
  const memory = snapshot.process.resident_bytes;
  say($('process'), memory ? `${bytes(memory)} resident, ${count(snapshot.process.open_fds)} descriptors` : '');
  for (const panel of [tiles, shards, percentiles, limits, ends, channels, certificates]) panel(snapshot);
  slowest(snapshot, mayAct);
}

/** The order of the channels has changed. */
export const showChannels = channels;
