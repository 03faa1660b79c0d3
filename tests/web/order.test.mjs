//! Proves, over seeded runs, that each publication is handed on once and in order, or told as lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stentor } from '../../src/web/stentor.js';
import { settled } from './fake.mjs';
import { World, seeded } from './world.mjs';

const SEEDS = process.env.SEED ? [Number(process.env.SEED)] : [...Array(150).keys()];

/** One client in one world, and what it was told. */
function live(world) {
  const { clock } = world;
  const client = new Stentor(`ws://host/ws${world.inAddress ? '?channel=x' : ''}`, {
    WebSocket: world.WebSocket, echo: world.echo, pingInterval: 0, random: () => 0.01,
    now: clock.now, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout,
  });
  const told = [];
  client.on('gap', (gap) => told.push({ gap }));
  client.on('joined', (joined) => told.push({ joined }));
  client.join('x', { onmessage: (message) => told.push({ message }) });
  return { client, told };
}

/** Lets everything that is on its way arrive. */
async function quiesce(world) {
  for (let i = 0; i < 10_000; i += 1) {
    for (const socket of world.sockets) {
      Object.assign(socket, { isSlow: false });
      socket.tellGap();
      socket.serve();
      socket.read();
    }
    await world.clock.pass(50);
    if ([...world.sockets].some((s) => s.up.length || s.down.length)) continue;
    if (world.sockets.size && i > 100) return;
  }
  throw new Error('it never rests');
}

/** A run of `steps` at random. `odds` says how often what happens. */
async function run(seed, { odds, steps = 400, ...options }) {
  const random = seeded(seed);
  const world = new World(options);
  const { client, told } = live(world);
  await quiesce(world);
  const from = world.top;
  const own = new Map(); // body -> how its publish ended
  for (let step = 0; step < steps; step += 1) {
    const socket = [...world.sockets][0];
    const chance = (name) => random() < (odds[name] ?? 0);
    if (random() < 0.4) world.publish(`m${step}`);
    if (chance('own')) {
      const body = `own${step}`;
      client.publish('x', body).then(() => own.set(body, 'ack'), () => own.set(body, 'unknown'));
    }
    if (random() < 0.5) socket?.serve();
    if (random() < 0.6) socket?.read();
    if (chance('twice') && socket?.isMember) {
      socket.down.push(...world.ring.slice(-2).filter(() => world.echo));
    }
    if (chance('slow') && socket) socket.isSlow = !socket.isSlow;
    if (chance('cut')) socket?.cut();
    if (chance('anew')) world.restart(false);
    if (chance('again')) world.restart(true);
    await world.clock.pass(random() * 30);
  }
  await quiesce(world);
  client.close();
  await settled();
  return { world, told, from, own };
}

/** The offsets of each epoch that were handed on, checked for order, and those told as gaps. */
function account({ told }) {
  const epochs = new Map();
  const of = (epoch) => {
    if (!epochs.has(epoch)) epochs.set(epoch, { heard: [], gone: new Set() });
    return epochs.get(epoch);
  };
  let joined = null;
  const pending = [];
  for (const event of told) {
    if (event.joined) joined = event.joined;
    if (event.gap) {
      for (let n = event.gap.from; n <= event.gap.to; n += 1) of(event.gap.epoch).gone.add(n);
    }
    if (event.message) pending.push(event.message);
  }
  return { epochs, messages: pending, joined };
}

const bodies = (map) => [...map.values()];

const PLACES = { // Where the client is in the channel before it joins it: by its address, or by its token.
  'a channel': {},
  'a channel of the address': { inAddress: true },
  'a channel of the token': { inAdvance: true },
};
for (const [place, where] of Object.entries(PLACES)) {
  test(`${place}: with history, cuts and repeats lose and double nothing`, async () => {
    const odds = { cut: 0.03, again: 0.01, twice: 0.05 };
    for (const seed of SEEDS) {
      const { world, told } = await run(seed, { odds, ...where });
      const { messages } = account({ told });
      assert.deepEqual(messages.map((m) => m.body), bodies(world.all.get('e1')), `SEED=${seed}`);
      assert.ok(told.every(({ joined, gap }) => !gap && joined?.recovered !== false));
    }
  });

  test(`${place}: what a slow client was not sent comes from the history`, async () => {
    const odds = { cut: 0.01, slow: 0.05, twice: 0.02 };
    for (const seed of SEEDS) {
      const { world, told } = await run(seed, { odds, ...where });
      const { messages } = account({ told });
      assert.deepEqual(messages.map((m) => m.body), bodies(world.all.get('e1')), `SEED=${seed}`);
      assert.ok(told.every(({ joined, gap }) => !gap && joined?.recovered !== false));
    }
  });

  test(`${place}: sparse offsets are no loss, and what is lost comes from the history`, async () => {
    for (const odds of [{ cut: 0.03, twice: 0.05 }, { cut: 0.01, slow: 0.05 }]) {
      for (const seed of SEEDS) {
        const { world, told } = await run(seed, { odds, ...where, sparse: true });
        const { messages } = account({ told });
        assert.deepEqual(messages.map((m) => m.body), bodies(world.all.get('e1')), `SEED=${seed}`);
        assert.ok(told.every(({ joined, gap }) => !gap && joined?.recovered !== false));
      }
    }
  });

  test(`${place}: a short history, or none, loses nothing without saying so`, async () => {
    const odds = { cut: 0.03, slow: 0.05 };
    for (const seed of SEEDS) {
      for (const options of [{ kept: 5 }, { hasHistory: false }]) {
        const { world, told } = await run(seed, { odds, ...where, ...options });
        const { epochs, messages } = account({ told });
        const offsets = messages.map((m) => m.offset);
        assert.deepEqual(offsets, [...new Set(offsets)].sort((a, b) => a - b), `SEED=${seed}`);
        const missed = told.reduce((sum, { joined }) => sum + (joined?.missed ?? 0), 0);
        const gone = epochs.get('e1')?.gone.size ?? 0;
        assert.equal(offsets.length + missed + gone, world.top, `SEED=${seed}`);
      }
    }
  });

  test(`${place}: a new epoch is told, and doubles nothing`, async () => {
    const odds = { cut: 0.02, anew: 0.01 };
    for (const seed of SEEDS) {
      const { world, told } = await run(seed, { odds, ...where });
      const { messages } = account({ told });
      const heard = messages.map((m) => m.body);
      assert.equal(new Set(heard).size, heard.length, `SEED=${seed}`);
      const published = [...world.all.values()].flatMap(bodies);
      const places = heard.map((body) => published.indexOf(body));
      assert.deepEqual(places, [...places].sort((a, b) => a - b), `SEED=${seed}`);
      const last = told.filter(({ joined }) => joined).at(-1).joined;
      assert.equal(last.epoch, world.epoch);
    }
  });
}

test('without echo, own publications do not come back and nothing else is lost', async () => {
  const odds = { cut: 0.02, slow: 0.03, own: 0.1 };
  for (const seed of SEEDS) {
    const { world, told, own } = await run(seed, { odds, echo: false });
    const { messages } = account({ told });
    const heard = messages.map((m) => m.body);
    const others = bodies(world.all.get('e1')).filter((body) => own.get(body) !== 'ack');
    // One whose answer was lost may come back: nobody knows that it was this client's.
    const wanted = others.filter((body) => !own.has(body) || heard.includes(body));
    assert.deepEqual(heard, wanted, `SEED=${seed}`);
    assert.ok(told.every(({ joined, gap }) => !gap && joined?.recovered !== false));
  }
});
