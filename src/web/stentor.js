//! The client library: one WebSocket to a Stentor server that comes back by itself.
// For browsers and Node (22 and up, or with {WebSocket}). stentor.d.ts says what each member does.
// It stays one file, however long: people copy it, and load it from where nothing else lies.

const FINAL_CODES = new Set([1002, 1007, 1008]);
const PROTOCOL = 'stentor.v1';
const LONGEST_MS = 2 ** 31 - 1; // A timer that is asked for more fires at once.
const BINARY = /^\[object (?:(?:Shared)?ArrayBuffer|Blob|File)\]$/;
const DONE = { value: undefined, done: true };
const ignore = () => {};

/** True where the same client would meet the same end, so that coming back is no use. */
export const isFinal = (code) => code >= 3500 || FINAL_CODES.has(code);

/** Full jitter: clients that fell together must not return together. */
export const backoff = (attempt, random = Math.random) =>
  random() * Math.min(20_000, 500 * 2 ** attempt);

export class StentorError extends Error {
  constructor(code, text) {
    super(text);
    this.name = 'StentorError';
    this.code = code;
  }
}

// A failure that nobody awaits must not end a Node process.
const quiet = (promise) => (promise.catch(ignore), promise);
const lost = (code, reason) => new StentorError('lost',
  `the connection ended (${`${code} ${reason}`.trim()}) before the answer came`);
const disconnected = () => new StentorError('disconnected', 'the client is disconnected');

// JSON would make an object of numbers of binary data, or an empty one, wherever it stands.
const encode = (frame) => JSON.stringify(frame, function check(key, value) {
  const given = this[key]; // `value` is what a `toJSON` made of it; a string is welcome.
  const isBinary = ArrayBuffer.isView(given) || BINARY.test(Object.prototype.toString.call(given));
  if (!isBinary || typeof value !== 'object') return value;
  throw new TypeError(`${PROTOCOL} carries no binary data: send it as text, in base64 for example`);
});

// What is certainly small is not encoded only to be counted.
const isOver = (text, max) => text.length * 3 > max && new TextEncoder().encode(text).length > max;

const DEFAULTS = {
  autoConnect: true,
  maxQueued: 256,
  maxBufferedBytes: 1 << 20,
  requestTimeout: 15_000,
  connectTimeout: 10_000,
  pingInterval: 25_000,
  pongTimeout: 10_000,
  stableAfter: 5_000,
  random: Math.random,
  now: () => performance.now(),
  // Looked up when called, and called bare: browsers refuse these as methods of another object.
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  reportError: (error) => (globalThis.reportError ?? console.error)(error),
};

export class Stentor extends EventTarget {
  #url;
  #opt;
  #ws = null;
  #state = 'disconnected';
  #welcome = null;
  #attempt = 0;
  #id = 0;
  #requests = new Map(); // id -> request, sent or queued; while not connected all are queued.
  #channels = new Map(); // name -> what to join again after a reconnect.
  #timers = new Map();
  #guards = new WeakMap(); // listener -> the same, but what it throws is reported.
  #hints = null;
  #quiet = false; // True from a probe until anything is heard.
  #heard = 0;

  constructor(url, options = {}) {
    super();
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    this.#opt = { ...DEFAULTS, ...Object.fromEntries(given) };
    const base = globalThis.document?.baseURI ?? globalThis.location?.href;
    this.#url = new URL(url?.href ?? url, base);
    this.#url.protocol = this.#url.protocol.replace('http', 'ws');
    this.#url.hash = ''; // No WebSocket may have one.
    if (options.user) this.#url.searchParams.set('user', options.user);
    if (options.echo === false) this.#url.searchParams.set('echo', 'false');
    // The server decodes percent signs only; a plus that was meant is %2B by here.
    this.#url.search = this.#url.search.replaceAll('+', '%20');
    const { signal } = options;
    signal?.addEventListener('abort', () => this.close(), { once: true });
    if (!this.#opt.autoConnect || signal?.aborted) return;
    // A turn later, so that listeners added right after `new` miss nothing.
    this.#state = 'connecting';
    queueMicrotask(() => this.#state === 'connecting' && !this.#ws && this.#open());
  }

  get url() { return this.#url.href; }
  get state() { return this.#state; }
  get id() { return this.#welcome?.client ?? null; }
  get user() { return this.#welcome?.user ?? null; }
  get channels() { return [...this.#channels.keys()]; }
  get queued() { return this.#state === 'connected' ? 0 : this.#requests.size; }

  // What a socket that is closing takes would be lost, so it waits for the next one instead.
  get #up() { return this.#state === 'connected' && !(this.#ws.readyState > 1); }

  connect() {
    if (this.#state !== 'disconnected') return;
    this.#attempt = 0;
    this.#open();
  }

  retryNow() {
    if (this.#timers.has('retry')) this.#open();
    else this.connect();
  }

  close(code = 1000, reason = '') {
    if (this.#state === 'disconnected') return;
    this.#ws?.close(code, reason); // First, as a bad code throws and then nothing has changed.
    this.#ws = null;
    this.#ended(code, reason, true);
  }

  publish(channel, body, options) {
    return this.#ask({ type: 'publish', channel, body }, options);
  }

  direct(user, body, options) {
    return this.#ask({ type: 'direct', user, body }, options);
  }

  who(channel, options) {
    return this.#ask({ type: 'who', channel }, options);
  }

  ping(options) {
    const started = this.#opt.now();
    return quiet(this.#ask({ type: 'ping' }, options).then(() => this.#opt.now() - started));
  }

  join(channel, { presence = false, onmessage, signal } = {}) {
    if (signal?.aborted) return quiet(Promise.reject(signal.reason));
    let entry = this.#channels.get(channel);
    if (!entry) {
      entry = { joins: new Set(), handlers: new Set(), offset: null, isIn: false, early: 0 };
      this.#channels.set(channel, entry);
    }
    const count = () => {
      entry.handlers = new Set([...entry.joins].map((j) => j.onmessage).filter(Boolean));
    };
    return quiet(new Promise((resolve, reject) => {
      const join = { presence, onmessage, waiting: true };
      const settle = (run) => (value) => {
        join.waiting = false;
        run(value);
      };
      const abort = () => {
        join.end(signal.reason);
        if (!entry.joins.size && this.#channels.get(channel) === entry) this.leave(channel);
      };
      join.done = settle(resolve);
      join.fail = settle(reject);
      join.end = (error) => {
        entry.joins.delete(join);
        count();
        signal?.removeEventListener('abort', abort);
        join.fail(error);
      };
      signal?.addEventListener('abort', abort, { once: true });
      entry.joins.add(join);
      count();
      if (this.#up) this.#sendJoin(channel, entry);
    }));
  }

  // With a handler only its joins end; the channel is left with the last of all.
  leave(channel, { onmessage, ...options } = {}) {
    const entry = this.#channels.get(channel);
    const ends = [...(entry?.joins ?? [])].filter((j) => !onmessage || j.onmessage === onmessage);
    ends.forEach((join) => join.end(new StentorError('left', `left ${channel}`)));
    if (onmessage && (!entry || entry.joins.size)) return Promise.resolve({ channel });
    this.#channels.delete(channel);
    if (!this.#up) return Promise.resolve({ channel });
    return quiet(this.#ask({ type: 'leave', channel }, options).then((answer) => {
      this.#emit('left', { ...answer, own: true });
      return answer;
    }));
  }

  addEventListener(type, listener, options) {
    super.addEventListener(type, this.#guarded(listener), options);
  }

  removeEventListener(type, listener, options) {
    super.removeEventListener(type, this.#guarded(listener), options);
  }

  on(type, listener, options) {
    const relay = (event) => listener(event.detail, event);
    this.addEventListener(type, relay, options);
    return () => this.removeEventListener(type, relay, options);
  }

  messages(channel, { presence, signal, maxBuffered = 1024 } = {}) {
    const buffer = [];
    const readers = [];
    let over = false;
    let failure = null;
    const take = (message) => {
      const reader = readers.shift();
      if (reader) return reader.resolve({ value: message, done: false });
      // The newest matter most to a reader that fell behind.
      if (buffer.push(message) > maxBuffered) this.#emit('dropped', buffer.shift());
    };
    const end = (error) => {
      if (over) return;
      over = true;
      failure = error ?? null;
      stop();
      signal?.removeEventListener('abort', abort);
      this.leave(channel, { onmessage: take });
      readers.splice(0).forEach((r) => (failure ? r.reject(failure) : r.resolve(DONE)));
    };
    const abort = () => end();
    const stop = this.on('state', ({ state }) => state === 'disconnected' && end());
    signal?.addEventListener('abort', abort, { once: true });
    const refused = (error) => end(error.code === 'left' ? null : error);
    if (signal?.aborted) end();
    else this.join(channel, { presence, onmessage: take }).catch(refused);
    return {
      [Symbol.asyncIterator]() { return this; },
      next: () => {
        if (buffer.length) return Promise.resolve({ value: buffer.shift(), done: false });
        if (failure) return Promise.reject(failure);
        if (over) return Promise.resolve(DONE);
        return new Promise((resolve, reject) => readers.push({ resolve, reject }));
      },
      return: () => {
        buffer.length = 0;
        end();
        return Promise.resolve(DONE);
      },
    };
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  // One that throws harms neither the others nor the socket. The promise of an async one counts.
  #call(run, ...args) {
    const report = (error) => {
      try { this.#opt.reportError(error); } catch { console.error(error); }
    };
    try {
      const result = run(...args);
      if (typeof result?.then === 'function') Promise.resolve(result).catch(report);
    } catch (error) {
      report(error);
    }
  }

  #guarded(listener) {
    if (!listener || this.#guards.has(listener)) return listener && this.#guards.get(listener);
    const run = (event) => (typeof listener === 'function' ? listener.call(this, event)
      : listener.handleEvent(event));
    const guarded = (event) => this.#call(run, event);
    this.#guards.set(listener, guarded);
    return guarded;
  }

  #later(run, ms) {
    return ms <= LONGEST_MS ? this.#opt.setTimeout(run, ms) : undefined;
  }

  #arm(name, ms, run) {
    this.#disarm(name);
    this.#timers.set(name, this.#later(() => {
      this.#timers.delete(name);
      run();
    }, ms));
  }

  #disarm(...names) {
    names.forEach((name) => this.#opt.clearTimeout(this.#timers.get(name)));
    names.forEach((name) => this.#timers.delete(name));
  }

  #open() {
    this.#disarm('retry');
    this.#listen();
    this.#state = 'connecting';
    let ws;
    try {
      const Socket = this.#opt.WebSocket ?? globalThis.WebSocket;
      if (!Socket) throw new Error('no WebSocket here: pass the option WebSocket');
      ws = new Socket(this.#url.href, [PROTOCOL]);
    } catch (error) {
      return this.#ended(1006, error.message, true);
    }
    this.#ws = ws;
    const mine = (run) => (event) => ws === this.#ws && run(event);
    ws.onopen = mine(() => {
      if (ws.protocol !== PROTOCOL) this.#drop(`the server does not speak ${PROTOCOL}`, 1002);
    });
    ws.onmessage = mine((event) => this.#receive(event.data));
    ws.onclose = mine((event) => {
      this.#ws = null;
      this.#ended(event.code, event.reason);
    });
    ws.onerror = ignore; // A close always follows, and says more.
    this.#arm('open', this.#opt.connectTimeout, () => this.#drop('no welcome in time'));
    this.#emit('state', { state: 'connecting', attempt: this.#attempt, retryInMs: null });
  }

  // A dead path would keep the closing handshake waiting, so the end is declared from here.
  #drop(reason, code = 1006) {
    this.#ws.close();
    this.#ws = null;
    this.#ended(code, reason);
  }

  #ended(code, reason, final = isFinal(code)) {
    this.#disarm('open', 'stable', 'watch', 'retry');
    this.#welcome = null;
    const attempt = this.#attempt;
    const retryInMs = final ? null : backoff(attempt, this.#opt.random);
    const state = (this.#state = final ? 'disconnected' : 'connecting');
    if (final) this.#hints?.abort();
    else {
      this.#attempt += 1;
      this.#arm('retry', retryInMs, () => this.#open());
    }
    for (const request of [...this.#requests.values()]) {
      if (request.sent) request.fail(lost(code, reason));
      else if (final) request.fail(disconnected());
    }
    for (const entry of this.#channels.values()) {
      Object.assign(entry, { isIn: false, early: 0 });
      if (final) entry.joins.forEach((join) => join.fail(disconnected()));
    }
    this.#emit('close', { code, reason, final, retryInMs });
    // Unless a listener of `close` has already moved on.
    if (this.#state === state && !this.#ws) this.#emit('state', { state, attempt, retryInMs });
  }

  #receive(text) {
    this.#heard = this.#opt.now();
    this.#quiet = false;
    let m;
    try {
      m = Object(JSON.parse(text)); // Even `null` has fields to look at then.
    } catch {
      return this.#emit('error', new StentorError('malformed', 'the server sent no JSON'));
    }
    const request = this.#requests.get(m.id);
    if (m.type === 'message') {
      const entry = m.direct ? null : this.#channels.get(m.channel);
      // A channel that the address names is heard before its join is answered.
      if (entry?.isIn) entry.offset = m.offset;
      else if (entry) entry.early += 1;
      // Not those that one of them has taken back meanwhile.
      entry?.handlers.forEach((run) => entry.handlers.has(run) && this.#call(run, m));
      this.#emit('message', m);
    } else if (m.type === 'welcome') this.#arrive(m);
    else if (m.type === 'error') {
      const error = new StentorError(m.code, m.text);
      request ? request.fail(error) : this.#emit('error', error);
    } else if (request) request.done(m);
    else if (m.type === 'joined' || m.type === 'left') this.#emit(m.type, { ...m, own: false });
  }

  #arrive(welcome) {
    this.#disarm('open');
    this.#welcome = welcome;
    this.#state = 'connected';
    this.#arm('stable', this.#opt.stableAfter, () => { this.#attempt = 0; });
    this.#watch();
    // Joins first: what the queue publishes should be heard here too.
    const queued = [...this.#requests.values()];
    this.#channels.forEach((entry, channel) => this.#sendJoin(channel, entry));
    queued.forEach((request) => request.send());
    this.#emit('welcome', welcome);
    this.#emit('state', { state: 'connected', attempt: this.#attempt, retryInMs: null });
  }

  #sendJoin(channel, entry) {
    const presence = [...entry.joins].some((join) => join.presence);
    this.#request({ type: 'join', channel, presence }, {}, (answer) => {
      if (this.#channels.get(channel) !== entry) return;
      // Unknown at the first join, and where the server has begun to count anew: its epoch is
      // another then, or, from a server without epochs, the offset is smaller.
      const { offset, epoch, early } = entry;
      const isKnown = offset !== null && answer.epoch === epoch && answer.offset >= offset;
      const missed = isKnown ? answer.offset - offset - early : null;
      Object.assign(entry, { offset: answer.offset, epoch: answer.epoch, isIn: true, early: 0 });
      entry.joins.forEach((join) => join.done(answer));
      this.#emit('joined', { ...answer, own: true, missed });
    }, (error) => {
      if (error.code === 'lost' || this.#channels.get(channel) !== entry) return;
      if (error.code === 'timeout') return this.#drop('no answer to join');
      this.#channels.delete(channel);
      const joins = [...entry.joins];
      const waiting = joins.filter((join) => join.waiting);
      joins.forEach((join) => join.end(error));
      if (!waiting.length) this.#emit('error', error);
    });
  }

  #ask(frame, options = {}) {
    return quiet(new Promise((resolve, reject) => this.#request(frame, options, resolve, reject)));
  }

  #request(frame, { timeout = this.#opt.requestTimeout, signal, ack = true }, resolve, reject) {
    if (signal?.aborted) return reject(signal.reason);
    if (this.#state === 'disconnected') return reject(disconnected());
    const full = this.#up
      ? this.#ws.bufferedAmount > this.#opt.maxBufferedBytes
      : this.#requests.size >= this.#opt.maxQueued;
    if (full) this.#emit('dropped', frame);
    if (full) return reject(new StentorError('dropped', 'too much is waiting to be sent'));
    const id = ++this.#id;
    let text;
    try {
      text = encode(ack ? { ...frame, id } : frame);
    } catch (error) {
      return reject(error);
    }
    const settle = (run) => (value) => {
      if (!this.#requests.delete(id)) return;
      this.#opt.clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      run(value);
    };
    const fail = settle(reject);
    const abort = () => fail(signal.reason);
    // Counted from the call: what is given up here is never sent later.
    const late = () => fail(new StentorError('timeout', 'no answer in time'));
    const timer = this.#later(late, timeout);
    signal?.addEventListener('abort', abort, { once: true });
    const request = { sent: false, fail, done: settle(resolve) };
    request.send = () => {
      const max = this.#welcome.message_bytes;
      const large = `the server takes at most ${max} bytes a message`;
      if (isOver(text, max)) return fail(new StentorError('too_large', large));
      request.sent = true;
      this.#ws.send(text);
      if (!ack) request.done();
    };
    this.#requests.set(id, request);
    if (this.#up) request.send();
  }

  // One timer for both halves: wait until it is quiet, then ask and wait for any sound.
  #watch() {
    const { pingInterval, now } = this.#opt;
    if (!pingInterval) return;
    const rest = this.#heard + pingInterval - now();
    if (rest > 0) this.#arm('watch', rest, () => this.#watch());
    else this.#probe();
  }

  #probe() {
    if (this.#state !== 'connected' || this.#quiet) return;
    this.#quiet = true;
    this.#ws.send('{"type":"ping"}');
    this.#arm('watch', this.#opt.pongTimeout, () => {
      this.#quiet ? this.#drop('nothing heard in time') : this.#watch();
    });
  }

  #listen() {
    const page = globalThis.window;
    if (!page?.document || (this.#hints && !this.#hints.signal.aborted)) return;
    const { signal } = (this.#hints = new AbortController());
    const wake = () => (this.#timers.has('retry') ? this.#open() : this.#probe());
    const hear = (target, type, run) => target.addEventListener(type, run, { signal });
    hear(page, 'online', wake);
    hear(page, 'offline', () => this.#probe());
    hear(page, 'pageshow', wake);
    // An open socket would keep the page out of the back/forward cache.
    hear(page, 'pagehide', () => this.#ws && this.#drop('page hidden'));
    hear(page.document, 'visibilitychange', () => page.document.hidden || wake());
  }
}

export { Stentor as Client, Stentor as default };
