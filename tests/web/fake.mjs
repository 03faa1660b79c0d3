//! A clock and a socket for tests: time passes when told to, and the server is the test.
import { Stentor } from '../../src/web/stentor.js';

/** Timers that fire in order while `pass` moves the clock. */
export class Clock {
  time = 0;
  #timers = new Map();
  #next = 1;

  now = () => this.time;
  setTimeout = (run, ms) => {
    this.#timers.set(this.#next, { at: this.time + ms, run });
    return this.#next++;
  };
  clearTimeout = (id) => void this.#timers.delete(id);

  get pending() { return this.#timers.size; }

  async pass(ms) {
    const end = this.time + ms;
    await settled();
    for (;;) {
      const [due] = [...this.#timers].filter(([, t]) => t.at <= end)
        .sort((a, b) => a[1].at - b[1].at);
      if (!due) break;
      this.#timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].run();
      await settled();
    }
    this.time = end;
  }
}

/** Lets every promise that can settle do so. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** The client's side of a socket; `say`, `open` and `end` are the server's. */
export class Socket {
  static all = [];
  static get last() { return Socket.all.at(-1); }
  protocol = '';
  bufferedAmount = 0;
  sent = [];
  closed = null;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    Socket.all.push(this);
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close(code, reason) { this.closed ??= { code, reason }; }

  say(message) { this.onmessage({ data: JSON.stringify(message) }); }
  end(code, reason = '') { this.onclose({ code, reason }); }
  open(protocol = 'stentor.v1') {
    this.protocol = protocol;
    this.onopen({});
  }

  welcome(fields = {}) {
    this.open();
    this.say({ type: 'welcome', client: Socket.all.length, user: 'ana', channel: null, ...fields });
    return this;
  }

  asked(type) { return this.sent.filter((m) => m.type === type); }
  answer(type, fields = {}) {
    this.say({ type: 'ack', id: this.asked(type).at(-1).id, ...fields });
  }
}

/** A client on fakes, with every event it tells in `told`. */
export function start(options = {}) {
  Socket.all = [];
  const clock = new Clock();
  const told = [];
  const client = new Stentor('ws://host/ws', {
    WebSocket: Socket,
    random: () => 1,
    ...{ now: clock.now, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
    ...options,
  });
  for (const type of ['state', 'close', 'error', 'dropped', 'joined', 'left', 'crowd', 'message',
    'gap', 'expiring']) {
    client.on(type, (detail) => told.push([type, detail]));
  }
  const all = (type) => told.filter(([t]) => t === type).map(([, detail]) => detail);
  return { client, clock, all };
}

/** The same, connected. */
export async function connected({ messageBytes = 65_536, ...options } = {}) {
  const started = start(options);
  await settled();
  return { ...started, socket: Socket.last.welcome({ message_bytes: messageBytes }) };
}

/** The code that `promise` rejects with. */
export const refusal = (promise) => promise.then(
  () => 'resolved',
  (error) => (error.name === 'StentorError' ? error.code : error.name),
);
