//! A whole server in one object, with queues both ways, for tests that decide what happens when.
import { Clock } from './fake.mjs';

/** Numbers from 0 up to 1 that depend on the seed only (mulberry32). */
export function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One channel `x` with its history, and the sockets of the clients in it. */
export class World {
  clock = new Clock();
  sockets = new Set();
  ring = [];
  top = 0;
  epoch = 'e1';
  ids = 0;
  all = new Map(); // epoch -> every offset that was ever published, with its body.

  constructor({ kept = Infinity, hasHistory = true, inAddress, inAdvance, echo = true,
    sparse = false } = {}) {
    Object.assign(this, { kept, hasHistory, inAddress, inAdvance, echo, sparse });
    this.all.set(this.epoch, new Map());
    const world = this;
    this.WebSocket = class extends WorldSocket {
      constructor(url) { super(world, new URL(url).searchParams.has('channel')); }
    };
  }

  publish(body, by = null) {
    this.top += this.sparse ? 1 + ((this.top * 7) % 5) : 1;
    const offset = this.top;
    const message = { type: 'message', channel: 'x', offset, from: null, time: 0, body };
    this.all.get(this.epoch).set(offset, body);
    this.ring.push(message);
    if (this.ring.length > this.kept) this.ring.shift();
    for (const socket of this.sockets) if (this.echo || socket !== by) socket.deliver(message);
    return offset;
  }

  /** The server starts again: with `keeps` its history and count go on. */
  restart(keeps) {
    [...this.sockets].forEach((socket) => socket.cut());
    if (keeps) return;
    this.epoch = `e${this.all.size + 1}`;
    this.all.set(this.epoch, new Map());
    this.ring = [];
    this.top = 0;
  }

  since({ epoch, offset }) {
    const first = this.ring[0]?.offset ?? this.top + 1;
    // Where offsets are sparse nothing is forgotten here.
    const isForgotten = first > offset + 1 && !this.sparse;
    if (!this.hasHistory || epoch !== this.epoch || offset > this.top || isForgotten) {
      return null;
    }
    return this.ring.filter((message) => message.offset > offset);
  }
}

class WorldSocket {
  protocol = 'stentor.v1';
  readyState = 1;
  bufferedAmount = 0;
  up = []; // On its way to the server.
  down = []; // On its way to the client.
  isMember = false;
  isSlow = false; // Publications are not sent now, and told as a gap later.
  skipped = null;

  constructor(world, isNamed) {
    this.world = world;
    this.id = ++world.ids;
    world.sockets.add(this);
    const welcome = { type: 'welcome', client: this.id, user: null, message_bytes: 65_536 };
    if (world.sparse) welcome.sparse = true;
    this.isMember = isNamed || world.inAdvance;
    const { epoch, top } = world;
    this.down.push(isNamed ? { ...welcome, channel: 'x', epoch, offset: top }
      : { ...welcome, channel: null });
    if (world.inAdvance) this.down.push({ type: 'joined', channel: 'x', epoch, offset: top });
  }

  send(text) { this.up.push(JSON.parse(text)); }

  close() {
    this.readyState = 3;
    this.world.sockets.delete(this);
  }

  cut() {
    if (this.readyState > 1) return;
    this.close();
    this.onclose({ code: 1006, reason: '' });
  }

  deliver(message) {
    if (!this.isMember) return;
    if (this.isSlow) {
      this.skipped ??= { from: message.offset };
      this.skipped.to = message.offset;
      return;
    }
    this.tellGap();
    this.down.push(message);
  }

  tellGap() {
    if (!this.skipped) return;
    this.down.push({ type: 'gap', channel: 'x', epoch: this.world.epoch, ...this.skipped });
    this.skipped = null;
  }

  /** The client reads one message. */
  read() {
    const message = this.down.shift();
    if (message && this.readyState === 1) this.onmessage({ data: JSON.stringify(message) });
  }

  /** The server reads one message. */
  serve() {
    const m = this.up.shift();
    if (!m) return;
    const { world } = this;
    const { epoch, top: offset } = world;
    const answer = (fields) => this.down.push({ id: m.id, channel: 'x', ...fields });
    if (m.type === 'join') {
      // A member is told nothing again.
      const missed = m.since && !this.isMember ? world.since(m.since) : null;
      missed?.forEach((message) => this.down.push(message));
      const recovered = m.since ? { recovered: Boolean(missed) } : {};
      this.isMember = true;
      if (missed) this.skipped = null;
      answer({ type: 'joined', offset, epoch, ...recovered });
    } else if (m.type === 'history') {
      const kept = world.ring.filter((one) => one.offset > (m.since?.offset ?? 0));
      const publications = kept.slice(0, m.limit).map(({ type, channel, ...rest }) => rest);
      const isOther = m.since && m.since.epoch !== epoch;
      const code = !world.hasHistory ? 'no_history' : isOther ? 'wrong_epoch' : null;
      if (code) answer({ type: 'error', code, text: code });
      else answer({ type: 'history', publications, offset, epoch, more: kept.length > m.limit });
    } else if (m.type === 'publish') {
      answer({ type: 'ack', offset: world.publish(m.body, this), epoch });
    } else if (m.type === 'leave') {
      this.isMember = false;
      this.skipped = null;
      answer({ type: 'left' });
    } else answer({ type: 'pong' });
  }
}
