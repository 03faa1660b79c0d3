// Clients whose connections are cut at random for a while: each must hear each publication once and in order. Half of
// them are stentor.js, and half ask for what they missed by hand. The server must keep history and recover.
// Usage: node cut_for.mjs ws://ADDRESS [CLIENTS [SECONDS [MESSAGES a second [SEED]]]]; prints one line of JSON.
import WebSocket from 'ws';
import { Stentor } from '../../src/web/stentor.js';
import { cuttingProxy } from './cutting.mjs';

const [url, ...numbers] = process.argv.slice(2);
const [count = 200, seconds = 60, rate = 100, seed = 1] = numbers.map(Number);

// The mean life of a connection.
const LIFE_MS = 2_000;
const PATIENCE_MS = 60_000;
const CHANNEL = `cut-${process.pid}`;

// mulberry32: a run is repeated by its seed, as far as the network lets it be.
let state = seed >>> 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// The messages that one client has heard: their numbers should be 0, 1, 2 and so on.
class Ear {
  next = 0;

  lost = 0;

  doubled = 0;

  unrecovered = 0;

  returns = -1;

  hear(number) {
    if (number < this.next) this.doubled += 1;
    else {
      this.lost += number - this.next;
      this.next = number + 1;
    }
  }
}

async function byLibrary(address) {
  const ear = new Ear();
  const client = new Stentor(`${address}/ws`, { WebSocket, stableAfter: 0, connectTimeout: 3_000, random });
  client.on('joined', ({ own, recovered }) => {
    if (!own) return;
    ear.returns += 1;
    ear.unrecovered += recovered === false;
  });
  client.on('gap', () => { ear.unrecovered += 1; });
  await client.join(CHANNEL, { onmessage: ({ body }) => ear.hear(body) });
  return { ear, close: () => client.close() };
}

function byHand(address) {
  const ear = new Ear();
  let since = null;
  let socket = null;
  let closed = false;
  return new Promise((resolve) => {
    const told = {
      message: ({ body, offset }) => {
        ear.hear(body);
        since = { ...since, offset };
      },
      joined: ({ epoch, offset, recovered }) => {
        ear.returns += 1;
        ear.unrecovered += recovered === false;
        since = { epoch, offset };
        resolve({ ear, close });
      },
    };
    function close() {
      closed = true;
      socket.terminate();
    }
    function connect() {
      socket = new WebSocket(`${address}/ws`, 'stentor.v1');
      socket.on('open', () => socket.send(JSON.stringify({ type: 'join', channel: CHANNEL, id: 1, ...(since && { since }) })));
      socket.on('message', (text) => {
        const event = JSON.parse(text);
        told[event.type]?.(event);
      });
      socket.on('error', () => {});
      socket.on('close', () => { if (!closed) setTimeout(connect, 20 + random() * 500); });
    }
    connect();
  });
}

// Publishes by the clock: a late turn of the loop makes up for what it has missed.
async function publishFor(publisher) {
  const began = performance.now();
  let published = 0;
  while (published < seconds * rate) {
    const due = Math.min(seconds * rate, Math.floor(((performance.now() - began) / 1_000) * rate));
    const answers = [];
    for (; published < due; published += 1) answers.push(publisher.publish(CHANNEL, published));
    await Promise.all(answers);
    await pause(1_000 / rate);
  }
  return published;
}

const proxy = await cuttingProxy(url);
const make = [...Array(count).keys()].map((n) => (n % 2 ? byHand(proxy.url) : byLibrary(proxy.url)));
const clients = await Promise.all(make);
const publisher = new Stentor(`${url}/ws`, { WebSocket });
const TICK_MS = 50;
let cuts = 0;
const cutter = setInterval(() => { cuts += proxy.cut(TICK_MS / LIFE_MS, random); }, TICK_MS);
let published = await publishFor(publisher);
clearInterval(cutter);
const end = performance.now() + PATIENCE_MS;
const ears = clients.map(({ ear }) => ear);
const isHeard = async () => {
  while (ears.some(({ next }) => next < published) && performance.now() < end) await pause(10);
};
await isHeard();
// One more message: whatever comes twice has come before it.
await publisher.publish(CHANNEL, published);
published += 1;
await isHeard();
const sum = (name) => ears.reduce((all, ear) => all + ear[name], 0);
const good = ears.filter(({ next, lost, doubled }) => next === published && lost + doubled === 0).length;
const lost = ears.reduce((all, ear) => all + ear.lost + published - ear.next, 0);
console.log(JSON.stringify({
  clients: count, published, cuts, returns: sum('returns'), due: count * published, lost, doubled: sum('doubled'),
  unrecovered: sum('unrecovered'), good,
}));
clients.forEach(({ close }) => close());
process.exit(good === count && sum('unrecovered') === 0 ? 0 : 1);
