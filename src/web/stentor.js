//! The client library: one WebSocket to a Stentor server that comes back by itself.
// For browsers and Node (22 and up, or with {WebSocket}). stentor.d.ts says what each member does.
// This file is made from clients/js/src by clients/js/build.mjs; the comments are in its sources.
// It is one file, so that people can copy it and load it from where nothing else lies.

// ---- errors: Failures of requests, by a code that programs can read.

class StentorError extends Error {
  constructor(code, text) {
    super(text);
    this.name = 'StentorError';
    this.code = code;
  }
}

const ignore = () => {};

const quiet = (promise) => (promise.catch(ignore), promise);
const lost = (code, reason) => new StentorError('lost',
  `the connection ended (${`${code} ${reason}`.trim()}) before the answer came`);
const disconnected = () => new StentorError('disconnected', 'the client is disconnected');

// ---- timers: Pauses between attempts, and named timers of which each name has one at a time.

const FINAL_CODES = new Set([1002, 1007, 1008]);
const LONGEST_MS = 2 ** 31 - 1;

const isFinal = (code) => code >= 3500 || FINAL_CODES.has(code);

const backoff = (attempt, random = Math.random) =>
  random() * Math.min(20_000, 500 * 2 ** attempt);

class Timers {
  #opt;
  #named = new Map();

  constructor(opt) {
    this.#opt = opt;
  }

  later(run, ms) {
    return ms <= LONGEST_MS ? this.#opt.setTimeout(run, ms) : undefined;
  }

  clear(timer) {
    this.#opt.clearTimeout(timer);
  }

  has(name) {
    return this.#named.has(name);
  }

  arm(name, ms, run) {
    this.disarm(name);
    this.#named.set(name, this.later(() => {
      this.#named.delete(name);
      run();
    }, ms));
  }

  disarm(...names) {
    names.forEach((name) => this.clear(this.#named.get(name)));
    names.forEach((name) => this.#named.delete(name));
  }
}

// ---- events: An `EventTarget` whose listeners cannot harm each other, nor the code that tells them.

class Events extends EventTarget {
  #reportError;
  #guards = new WeakMap();

  constructor(reportError) {
    super();
    this.#reportError = reportError;
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

  #guarded(listener) {
    if (!listener || this.#guards.has(listener)) return listener && this.#guards.get(listener);
    const run = (event) => (typeof listener === 'function' ? listener.call(this, event)
      : listener.handleEvent(event));
    const guarded = (event) => call(this.#reportError, run, event);
    this.#guards.set(listener, guarded);
    return guarded;
  }
}

const emit = (target, type, detail) =>
  target.dispatchEvent(new CustomEvent(type, { detail }));

function call(reportError, run, ...args) {
  const report = (error) => {
    try { reportError(error); } catch { console.error(error); }
  };
  try {
    const result = run(...args);
    if (typeof result?.then === 'function') Promise.resolve(result).catch(report);
  } catch (error) {
    report(error);
  }
}

// ---- binary: Binary bodies: bytes here, a string in base64 on the wire.

const BUFFER = /^\[object (?:Shared)?ArrayBuffer\]$/;
const PART = 0x8000;

const bytesOf = (body) => {
  if (ArrayBuffer.isView(body)) {
    return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  }
  return BUFFER.test(Object.prototype.toString.call(body)) ? new Uint8Array(body) : null;
};

function carried(body) {
  const bytes = bytesOf(body);
  if (!bytes) return { body };
  let text = '';
  for (let at = 0; at < bytes.length; at += PART) {
    text += String.fromCharCode(...bytes.subarray(at, at + PART));
  }
  return { encoding: 'base64', body: btoa(text) };
}

function unpacked(publication) {
  if (publication.encoding !== 'base64') return publication;
  const { encoding, ...others } = publication;
  return { ...others, body: Uint8Array.from(atob(others.body), (c) => c.charCodeAt(0)) };
}

// ---- requests: Requests by id: sent, or queued until the client is connected, and each settled once.

const BINARY = /^\[object (?:(?:Shared)?ArrayBuffer|Blob|File)\]$/;

const encode = (frame) => JSON.stringify(frame, function check(key, value) {
  const given = this[key];
  const isBinary = ArrayBuffer.isView(given) || BINARY.test(Object.prototype.toString.call(given));
  if (!isBinary || typeof value !== 'object') return value;
  throw new TypeError('binary data can only be a whole body, and no Blob: send it by itself');
});

const isOver = (text, max) => text.length * 3 > max && new TextEncoder().encode(text).length > max;

class Requests {
  #opt;
  #timers;
  #link;
  #byId = new Map();
  #last = 0;

  constructor(opt, timers, link) {
    this.#opt = opt;
    this.#timers = timers;
    this.#link = link;
  }

  get size() { return this.#byId.size; }
  get all() { return [...this.#byId.values()]; }
  find(id) { return this.#byId.get(id); }

  ask(frame, options = {}) {
    return quiet(new Promise((resolve, reject) => this.make(frame, options, resolve, reject)));
  }

  make(frame, { timeout = this.#opt.requestTimeout, signal, ack = true }, resolve, reject) {
    if (signal?.aborted) return reject(signal.reason);
    const link = this.#link;
    if (link.isOff()) return reject(disconnected());
    const full = link.isUp() ? link.buffered() > this.#opt.maxBufferedBytes
      : this.size >= this.#opt.maxQueued;
    if (full) link.refused(frame);
    if (full) return reject(new StentorError('dropped', 'too much is waiting to be sent'));
    const id = ++this.#last;
    let text;
    try {
      text = encode(ack ? { ...frame, id } : frame);
    } catch (error) {
      return reject(error);
    }
    const settle = (run) => (value) => {
      if (!this.#byId.delete(id)) return;
      this.#timers.clear(timer);
      signal?.removeEventListener('abort', abort);
      run(value);
    };
    const fail = settle(reject);
    const abort = () => fail(signal.reason);
    const late = () => fail(new StentorError('timeout', 'no answer in time'));
    const timer = this.#timers.later(late, timeout);
    signal?.addEventListener('abort', abort, { once: true });
    const request = { sent: false, fail, done: settle(resolve) };
    request.send = () => {
      const max = link.bytesMax();
      const large = `the server takes at most ${max} bytes a message`;
      if (isOver(text, max)) return fail(new StentorError('too_large', large));
      request.sent = true;
      link.send(text);
      if (!ack) request.done();
    };
    this.#byId.set(id, request);
    if (link.isUp()) request.send();
  }
}

// ---- token: Questions to the application, each with a bound in time, and the tokens that it brings.

const WORD = /^[\w!#$%&'*+.^`|~-]+$/;

function within(ask, name, timers, ms, failed) {
  return new Promise((resolve, reject) => {
    const timer = timers.later(() => reject(failed(`${name} took too long`)), ms);
    new Promise((run) => { run(ask()); })
      .then(resolve, (error) => reject(failed(`${name} failed: ${error?.message ?? error}`, error)))
      .finally(() => timers.clear(timer));
  });
}

function askToken(getToken, about, timers, ms) {
  const failed = (text, cause) =>
    Object.assign(new StentorError('no_token', text), cause && { cause });
  return within(() => getToken(about), 'getToken', timers, ms, failed).then((token) => {
    if (token === null || (typeof token === 'string' && WORD.test(token))) return token;
    throw failed('getToken brought neither a token nor null');
  });
}

function renew(isCurrent, act) {
  let tries = 0;
  const attempt = () => act.ask().then((token) => {
    if (!isCurrent()) return undefined;
    return token === null ? act.giveUp() : act.take(token);
  }).catch((error) => {
    if (!isCurrent()) return;
    act.failed(error);
    tries += 1;
    if (isCurrent()) act.later(tries, attempt);
  });
  attempt();
}

// ---- options: The choices of an application, and the address that follows from them.

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
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  reportError: (error) => (globalThis.reportError ?? console.error)(error),
};

const withDefaults = (options) => ({
  ...DEFAULTS,
  ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
});

function addressOf(given, { user, echo, token, getToken }) {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  const url = new URL(given?.href ?? given, base);
  url.protocol = url.protocol.replace('http', 'ws');
  url.hash = '';
  if (user) url.searchParams.set('user', user);
  if (echo === false) url.searchParams.set('echo', 'false');
  return without(url, ...(token || getToken ? ['token'] : []));
}

function without(url, ...names) {
  const other = new URL(url);
  names.forEach((name) => other.searchParams.delete(name));
  other.search = other.search.replaceAll('+', '%20');
  return other;
}

const offers = (protocol, token) =>
  (token ? [protocol, `stentor.token.${token}`] : [protocol]);

// ---- address: The address of the server: given once, or asked for before each attempt to connect.

class Address {
  #opt;
  #ask = null;
  #url = null;

  constructor(given, opt) {
    this.#opt = opt;
    if (typeof given === 'function') this.#ask = given;
    else this.#url = addressOf(given, opt);
  }

  get isAsked() { return this.#ask !== null; }
  get href() { return this.#url?.href ?? ''; }
  get channel() { return this.#url?.searchParams.get('channel') ?? null; }

  get isEchoed() {
    const said = this.#url?.searchParams.get('echo') ?? `${this.#opt.echo}`;
    return !/^(?:false|0)$/.test(said);
  }

  async ready(timers) {
    if (!this.#ask) return true;
    const failed = (text, cause) =>
      Object.assign(new StentorError('no_url', text), cause && { cause });
    const { connectTimeout } = this.#opt;
    return within(() => this.#ask(), 'url', timers, connectTimeout, failed).then((given) => {
      if (given === null) return false;
      try {
        this.#url = addressOf(given, this.#opt);
      } catch (error) {
        throw failed(`url brought no address: ${error.message}`, error);
      }
      return true;
    });
  }

  dialled(isKnown) {
    return (isKnown ? without(this.#url, 'channel') : this.#url).href;
  }
}

// ---- order: The order of one channel: each publication once, by its offset, over reconnects and gaps.

const HELD_MAX = 1_024;
const PAGE = 100;

const isCount = (offset) => Number.isSafeInteger(offset) && offset >= 0;
const sorted = (messages) => [...messages.keys()].sort((a, b) => a - b)
  .map((offset) => messages.get(offset));

class Order {
  epoch;
  offset = null;
  #mode = 'out';
  isSparse = false;
  #isEchoed;
  #wasIn = false;
  #away = null;
  #early = { count: 0, newest: 0 };
  #held = new Map();
  #fresh = new Map();
  #isOther = false;
  #wanted = 0;
  #own = new Set();

  constructor(isEchoed) {
    this.#isEchoed = isEchoed;
  }

  get #isStrict() { return this.#isEchoed && !this.isSparse; }

  get isIn() { return this.#mode === 'in'; }
  get position() {
    return this.epoch === undefined || this.offset === null ? null
      : { epoch: this.epoch, offset: this.offset };
  }

  startAt({ epoch, offset }) {
    Object.assign(this, { epoch, offset });
    this.#wasIn = true;
  }

  welcome({ epoch, offset }) {
    if (this.isIn) return;
    this.#isOther = epoch !== this.epoch;
    if (this.offset !== null || !(offset >= 0)) return;
    this.#isOther = false;
    Object.assign(this, { epoch, offset });
    this.#mode = 'in';
  }

  left() {
    this.#mode = 'out';
    this.#away = this.offset;
    this.#early = { count: 0, newest: 0 };
    this.#fresh.clear();
    this.#isOther = false;
    this.#wanted = 0;
  }

  again() {
    this.#mode = 'out';
  }

  ask() {
    const since = this.#mode === 'out' ? this.position : null;
    if (since) this.#mode = 'recovering';
    if (since) this.#away ??= this.offset;
    return since ?? undefined;
  }

  answered({ epoch, offset, recovered = false }) {
    const [before, isFirst] = [this.#mode, !this.#wasIn];
    if (!isCount(offset)) return verdict([], null, isFirst ? null : false);
    const isSame = recovered || (epoch === this.epoch && offset >= this.#away);
    this.#wasIn = true;
    this.#isOther = false;
    this.#mode = 'in';
    if (before === 'in') return isFirst ? verdict([], null, null) : verdict([], 0, true);
    const isKnown = isSame && this.#away !== null;
    const { count, newest } = this.#early;
    let items;
    if (before === 'recovering' && isSame) {
      this.epoch = epoch;
      items = this.#rejoined(offset, recovered);
    } else {
      items = [...sorted(this.#held), ...sorted(this.#fresh)];
      this.#restart(epoch, Math.max(offset, newest, ...this.#fresh.keys()));
    }
    const heard = count + items.filter((item) => item.offset <= offset).length;
    const skipped = Math.max(0, offset - this.#away - heard);
    const isCounted = isKnown && !recovered && (!this.isSparse || offset === this.#away);
    const missed = isCounted ? skipped : null;
    if (isFirst) return verdict(items, null, null);
    return recovered ? verdict(items, 0, true) : verdict(items, missed, missed === 0);
  }

  take(message) {
    const { offset } = message;
    if (!isCount(offset) || !offset) return [message];
    if (this.#mode === 'out') {
      this.#early.count += 1;
      this.#early.newest = Math.max(this.#early.newest, offset);
      return [message];
    }
    const isNext = offset === this.offset + 1;
    if (isNext && !this.#isOther) return this.#step(message);
    if (this.#mode === 'recovering') {
      this.#hold(this.#fresh, message);
      return [];
    }
    if (offset <= this.offset) return [];
    if (!this.#isStrict && !this.isWaiting) return this.#step(message);
    this.#hold(this.#held, message);
    if (this.#isStrict) this.#want(offset - 1);
    return [];
  }

  gap({ from, to, epoch = this.epoch }) {
    if (!isCount(from) || !isCount(to) || from > to) return [];
    const gone = [{ type: 'gap', from, to }];
    if (this.#mode === 'out' || epoch !== this.epoch) return gone;
    if (to <= this.offset) return this.#isEchoed ? [] : gone;
    const isOwn = !this.#isStrict && this.isIn && !this.isWaiting && from > this.offset + 1;
    if (isOwn) this.offset = from - 1;
    this.#want(to);
    return this.#drain();
  }

  own(offset, epoch) {
    if (this.#isEchoed || epoch !== this.epoch || !(offset > this.offset)) return [];
    this.#own.add(offset);
    if (this.#own.size > HELD_MAX) this.#own.delete(Math.min(...this.#own));
    return this.isIn ? this.#drain() : [];
  }

  get isWaiting() { return this.#wanted > this.offset; }

  get request() {
    const limit = Math.min(PAGE, this.#known(this.#wanted + 1) - this.offset - 1);
    return { since: this.position, limit };
  }

  filled({ publications, epoch }, before) {
    if (epoch !== this.epoch) return this.giveUp();
    const items = [];
    for (const message of publications) {
      if (!isCount(message?.offset) || message.offset <= this.offset) continue;
      if (!this.isSparse) items.push(...this.#skipTo(message.offset));
      if (message.offset > this.offset) items.push(...this.#step(message));
    }
    if (this.isSparse && !publications.length) {
      this.offset = Math.max(this.offset, this.#wanted);
      return [...items, ...this.#drain()];
    }
    if (this.offset === before) items.push(...this.#skipTo(this.#known(this.#wanted + 1)));
    return items;
  }

  giveUp() {
    return this.#skipTo(this.#wanted + 1);
  }

  #want(offset) {
    this.#wanted = Math.max(this.#wanted, offset);
  }

  #hold(messages, message) {
    if (messages.size < HELD_MAX) messages.set(message.offset, message);
    else this.#want(message.offset);
  }

  #known(end) {
    const here = [...this.#held.keys(), ...this.#own];
    return here.reduce((least, n) => (n > this.offset && n < least ? n : least), end);
  }

  #step(message) {
    const { offset } = message;
    this.offset = offset;
    this.#held.delete(offset);
    if (this.#mode === 'recovering') this.#early.count += 1;
    const items = this.#own.delete(offset) ? [] : [message];
    return [...items, ...this.#drain()];
  }

  #drain() {
    const items = [];
    for (let next = this.offset + 1; ; next = this.offset + 1) {
      const message = this.#held.get(next);
      if (!this.#own.has(next) && !message) break;
      if (!this.#own.delete(next)) items.push(message);
      this.#held.delete(next);
      this.offset = next;
      if (this.#mode === 'recovering') this.#early.count += 1;
    }
    if (this.#isStrict || this.isWaiting || !this.isIn || !this.#held.size) return items;
    return [...items, ...this.#flush(Infinity)];
  }

  #flush(end) {
    const items = sorted(this.#held)
      .filter(({ offset }) => offset > this.offset && offset <= end && !this.#own.has(offset));
    for (const offset of [...this.#held.keys(), ...this.#own]) {
      if (offset > end) continue;
      this.#held.delete(offset);
      this.#own.delete(offset);
      this.offset = Math.max(this.offset, offset);
    }
    return items;
  }

  #skipTo(end) {
    const items = this.#drain();
    while (this.offset + 1 < end) {
      const next = this.#known(end);
      items.push({ type: 'gap', from: this.offset + 1, to: next - 1 });
      this.offset = next - 1;
      items.push(...this.#drain());
    }
    return items;
  }

  #rejoined(top, recovered) {
    sorted(this.#fresh).filter(({ offset }) => offset > this.offset)
      .forEach((message) => this.#hold(this.#held, message));
    this.#fresh.clear();
    if (this.isWaiting && recovered) {
      this.#want(this.#isStrict ? Math.max(top, ...this.#held.keys()) : top);
      return this.#drain();
    }
    const items = this.#flush(top);
    this.offset = Math.max(this.offset, top);
    items.push(...this.#drain());
    if (this.isSparse) return [...items, ...this.#flush(Infinity)];
    if (this.#held.size) this.#want(Math.max(...this.#held.keys()) - 1);
    return items;
  }

  #restart(epoch, offset) {
    Object.assign(this, { epoch, offset });
    this.#held.clear();
    this.#fresh.clear();
    this.#own.clear();
    this.#wanted = 0;
  }
}

const verdict = (items, missed, recovered) => ({ items, missed, recovered });

// ---- channel: One channel of a client: its joins with their handlers, and how it recovers what was missed.

const REFUSALS_MAX = 4;
const HISTORY_TRIES_MAX = 4;
const IS_TOKEN = new Set(['bad_token', 'expired_token', 'try_again']);
const IS_PASSING = new Set(['rate', 'dropped', 'timeout']);

class Channel {
  joins = new Set();
  #handlers = new Set();
  #order;
  #host;
  #turn = 0;
  #refusals = 0;
  #attempt = 0;
  #renewals = 0;
  #isAsking = false;
  #isFetching = false;
  #hasHistory = true;
  #isGiven = false;

  constructor(name, host, isStrict) {
    this.name = name;
    this.#host = host;
    this.#order = new Order(isStrict);
  }

  get position() { return this.#order.position; }

  add({ presence = false, onmessage, onend, signal, since, token, getToken }) {
    if (since && !this.joins.size && this.#order.offset === null) this.#order.startAt(since);
    return quiet(new Promise((resolve, reject) => {
      const join = { presence, onmessage, token, getToken, waiting: true };
      const settle = (run) => (value) => {
        join.waiting = false;
        run(value);
      };
      const abort = () => {
        join.end(signal.reason);
        if (!this.joins.size) this.#host.forget(this);
      };
      join.done = settle(resolve);
      join.fail = settle(reject);
      join.end = (error) => {
        this.joins.delete(join);
        this.#count();
        signal?.removeEventListener('abort', abort);
        join.fail(error);
        onend?.(error);
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.joins.add(join);
      this.#count();
      if (this.#host.isUp()) this.send();
    }));
  }

  #count() {
    this.#handlers = new Set([...this.joins].map((j) => j.onmessage).filter(Boolean));
  }

  end(error) {
    this.away();
    [...this.joins].forEach((join) => join.end(error));
  }

  away() {
    this.#turn += 1;
    this.#isAsking = this.#isFetching = false;
    this.#hasHistory = true;
    this.#isGiven = false;
    const { timers } = this.#host;
    timers.disarm(`token ${this.name}`, `history ${this.name}`, `refresh ${this.name}`);
    this.#order.left();
  }

  greeted({ sparse = false }) {
    this.#order.isSparse = sparse;
  }

  given(position) {
    this.#isGiven = true;
    this.#order.welcome(position);
  }

  send() {
    const { timers, opt } = this.#host;
    timers.disarm(`token ${this.name}`);
    const first = this.#source;
    const given = [...this.joins].find((join) => join.token);
    if (!first || given?.getToken) {
      const { token } = given ?? {};
      if (first) given.token = null;
      return this.#join(token);
    }
    if (this.#isAsking) return undefined;
    this.#isAsking = true;
    const about = { channel: this.name, client: this.#host.id() };
    const isCurrent = this.#current(() => { this.#isAsking = false; });
    return askToken(first.getToken, about, timers, opt.requestTimeout).then((token) => {
      if (!isCurrent()) return;
      if (token === null) this.#refused(new StentorError('no_token', 'getToken brought no token'));
      else this.#join(token);
    }, (error) => {
      if (!isCurrent()) return;
      this.#host.emit('error', error);
      this.#retry('token', ++this.#attempt, () => this.send());
    });
  }

  get #source() { return [...this.joins].find((join) => join.getToken); }

  bring(token) {
    this.joins.forEach((join) => { if (join.token) join.token = token; });
  }

  renew() {
    const { timers, opt } = this.#host;
    const [isSame, renewal] = [this.#current(), ++this.#renewals];
    const isCurrent = () => isSame() && renewal === this.#renewals;
    const about = { channel: this.name, client: this.#host.id() };
    const getToken = this.#source?.getToken;
    if (!getToken) return;
    renew(isCurrent, {
      ask: () => askToken(getToken, about, timers, opt.requestTimeout),
      take: (token) => new Promise((resolve, reject) => {
        const frame = { type: 'refresh', channel: this.name, token };
        this.#host.make(frame, {}, resolve, reject);
      }),
      giveUp: () => this.#giveUp(),
      failed: (error) => this.#host.emit('error', error),
      later: (tries, run) => this.#retry('refresh', tries, run),
    });
  }

  #giveUp() {
    this.#host.make({ type: 'leave', channel: this.name }, {}, ignore, ignore);
    this.#refused(new StentorError('no_token', 'getToken brought no token'));
  }

  lapse() {
    if (!this.#source) return false;
    this.away();
    this.send();
    return true;
  }

  #current(then = () => {}) {
    const turn = this.#turn;
    return () => {
      const isCurrent = turn === this.#turn && this.#host.isMine(this);
      if (isCurrent) then();
      return isCurrent;
    };
  }

  #retry(what, attempt, run) {
    const { timers, opt } = this.#host;
    timers.arm(`${what} ${this.name}`, backoff(attempt, opt.random), run);
  }

  #join(token) {
    const presence = [...this.joins].some((join) => join.presence);
    const frame = { type: 'join', channel: this.name, presence };
    const since = this.#order.ask();
    if (since) frame.since = since;
    if (token) frame.token = token;
    const isCurrent = this.#current();
    this.#host.make(frame, {}, (answer) => {
      if (!isCurrent()) return undefined;
      return this.#isUnheard(answer, since) ? this.#joinAgain(token) : this.#joined(answer);
    }, (error) => {
      if (error.code === 'lost' || !isCurrent()) return;
      if (error.code === 'timeout') return this.#host.drop('no answer to join');
      const isNew = IS_TOKEN.has(error.code) && [...this.joins].some((join) => join.getToken);
      this.#refusals += 1;
      const isOver = this.#refusals > REFUSALS_MAX || !(isNew || error.code === 'rate');
      if (isOver) return this.#refused(error);
      if (since) this.#order.again();
      this.#retry('token', ++this.#attempt, () => this.send());
    });
  }

  #isUnheard({ recovered, epoch, offset }, since) {
    return this.#isGiven && since && recovered === false && epoch === since.epoch
      && offset > since.offset;
  }

  #joinAgain(token) {
    this.#isGiven = false;
    this.#host.make({ type: 'leave', channel: this.name }, {}, ignore, ignore);
    this.#order.again();
    this.#join(token);
  }

  #refused(error) {
    const isAwaited = [...this.joins].some((join) => join.waiting);
    this.#host.forget(this, error);
    if (!isAwaited) this.#host.emit('error', error);
  }

  #joined(answer) {
    this.#refusals = this.#attempt = 0;
    const { items, missed, recovered } = this.#order.answered(answer);
    this.#handOn(items);
    this.joins.forEach((join) => join.done(answer));
    this.#host.emit('joined', { ...answer, own: true, missed, recovered });
    this.#catchUp();
  }

  hear(message) {
    this.#handOn(this.#order.take(message));
    this.#catchUp();
  }

  gap(gap) {
    this.#handOn(this.#order.gap(gap));
    this.#catchUp();
  }

  own({ offset, epoch }) {
    this.#handOn(this.#order.own(offset, epoch));
    this.#catchUp();
  }

  #handOn(items) {
    for (const item of items) {
      if (!this.#host.isMine(this)) return;
      if (item.type === 'gap') {
        const { epoch } = this.#order;
        this.#host.emit('gap', { channel: this.name, from: item.from, to: item.to, epoch });
        continue;
      }
      this.#handlers.forEach((run) => this.#handlers.has(run) && this.#host.call(run, item));
      this.#host.emit('message', item);
    }
  }

  #catchUp(tries = 0) {
    const order = this.#order;
    if (this.#isFetching || !order.isIn || !order.isWaiting || !this.#host.isMine(this)) return;
    if (!this.#hasHistory || !order.position) return this.#handOn(order.giveUp());
    this.#isFetching = true;
    const isCurrent = this.#current(() => { this.#isFetching = false; });
    const { since, limit } = order.request;
    const frame = { type: 'history', channel: this.name, since, limit, reverse: false };
    this.#host.make(frame, {}, (answer) => {
      if (!isCurrent()) return;
      this.#handOn(order.filled(withChannel(answer), since.offset));
      this.#catchUp();
    }, (error) => {
      if (!isCurrent()) return;
      if (IS_PASSING.has(error.code) && tries < HISTORY_TRIES_MAX) {
        this.#isFetching = true;
        return this.#retry('history', tries + 1, () => {
          this.#isFetching = false;
          this.#catchUp(tries + 1);
        });
      }
      this.#hasHistory = false;
      this.#handOn(order.giveUp());
    });
  }
}

const withChannel = (answer) => ({
  ...answer,
  publications: (Array.isArray(answer.publications) ? answer.publications : [])
    .map((one) => unpacked({ type: 'message', channel: answer.channel, ...one })),
});

// ---- messages: A channel's publications as an iterator, with a bounded buffer.

const DONE = { value: undefined, done: true };

function messages(client, channel, { signal, maxBuffered = 1024, ...options } = {}) {
  const buffer = [];
  const readers = [];
  let over = false;
  let failure = null;
  const take = (message) => {
    const reader = readers.shift();
    if (reader) return reader.resolve({ value: message, done: false });
    if (buffer.push(message) > maxBuffered) emit(client, 'dropped', buffer.shift());
  };
  const end = (error) => {
    if (over) return;
    over = true;
    failure = error ?? null;
    stop();
    signal?.removeEventListener('abort', abort);
    client.leave(channel, { onmessage: take });
    readers.splice(0).forEach((r) => (failure ? r.reject(failure) : r.resolve(DONE)));
  };
  const abort = () => end();
  const stop = client.on('state', ({ state }) => state === 'disconnected' && end());
  signal?.addEventListener('abort', abort, { once: true });
  const onend = (error) => end(error.code === 'left' ? null : error);
  if (signal?.aborted) end();
  else client.join(channel, { ...options, onmessage: take, onend });
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

// ---- wake: Hints of the browser: the network is back or gone, the page is shown, hidden, stored or awake.

class Wake {
  #told;
  #heard = null;
  isHidden = false;

  constructor(told) {
    this.#told = told;
  }

  listen() {
    const page = globalThis.window?.document ? globalThis.window : null;
    const worker = globalThis.WorkerGlobalScope ? globalThis : null;
    if (this.#heard || !(page ?? worker)) return;
    this.#heard = new AbortController();
    const { signal } = this.#heard;
    const { wake, probe, hide } = this.#told;
    const hear = (target, type, run) => target.addEventListener(type, run, { signal });
    hear(page ?? worker, 'online', wake);
    hear(page ?? worker, 'offline', probe);
    if (!page) return;
    hear(page, 'pagehide', () => {
      this.isHidden = true;
      hide();
    });
    hear(page, 'pageshow', () => {
      this.isHidden = false;
      wake();
    });
    hear(page.document, 'resume', wake);
    hear(page.document, 'visibilitychange', () => page.document.hidden || wake());
  }

  stop() {
    this.#heard?.abort();
    this.#heard = null;
    this.isHidden = false;
  }
}

// ---- watch: Notices a dead connection: asks for a sign of life when it is quiet, and waits for one.

const LATE_MS = 1_000;

class Watch {
  #opt;
  #timers;
  #link;
  #isQuiet = false;
  #heard = 0;

  constructor(opt, timers, link) {
    this.#opt = opt;
    this.#timers = timers;
    this.#link = link;
  }

  hear() {
    this.#heard = this.#opt.now();
    this.#isQuiet = false;
  }

  start() {
    const { pingInterval, now } = this.#opt;
    if (!pingInterval) return;
    const rest = this.#heard + pingInterval - now();
    if (rest > 0) this.#timers.arm('watch', rest, () => this.start());
    else this.probe();
  }

  probe() {
    if (!this.#link.isOn() || this.#isQuiet) return;
    this.#isQuiet = true;
    this.#link.ask();
    this.#awaitSound(this.#opt.pongTimeout);
  }

  #awaitSound(ms) {
    const due = this.#opt.now() + ms;
    this.#timers.arm('watch', ms, () => {
      if (!this.#isQuiet) return this.start();
      if (this.#opt.now() > due + LATE_MS) return this.#awaitSound(LATE_MS);
      this.#link.drop('nothing heard in time');
    });
  }
}

// ---- stentor: The client: one WebSocket to a Stentor server that comes back by itself and misses nothing.

const PROTOCOL = 'stentor.v1';
const EXPIRED = 3005;

class Stentor extends Events {
  #address;
  #opt;
  #ws = null;
  #state = 'disconnected';
  #welcome = null;
  #attempt = 0;
  #turn = 0;
  #token;
  #isStale = false;
  #renewals = 0;
  #isPut = false;
  #requests;
  #channels = new Map();
  #timers;
  #wake;
  #host;
  #watch;

  constructor(url, options = {}) {
    const opt = withDefaults(options);
    super((error) => opt.reportError(error));
    this.#opt = opt;
    this.#token = opt.token ?? null;
    this.#timers = new Timers(opt);
    this.#requests = new Requests(opt, this.#timers, this.#link());
    this.#host = this.#channelHost();
    this.#watch = new Watch(opt, this.#timers, {
      isOn: () => this.#state === 'connected',
      ask: () => this.#ws.send('{"type":"ping"}'),
      drop: (reason) => this.#drop(reason),
    });
    this.#wake = new Wake({
      wake: () => this.#wakeUp(),
      probe: () => this.#watch.probe(),
      hide: () => this.#isTrying && this.#drop('page hidden'),
    });
    this.#address = new Address(url, opt);
    const { signal } = options;
    signal?.addEventListener('abort', () => this.close(), { once: true });
    if (!opt.autoConnect || signal?.aborted) return;
    this.#state = 'connecting';
    queueMicrotask(() => this.#state === 'connecting' && !this.#turn && this.#open());
  }

  get url() { return this.#address.href; }
  get state() { return this.#state; }
  get id() { return this.#welcome?.client ?? null; }
  get user() { return this.#welcome?.user ?? null; }
  get channels() { return [...this.#channels.keys()]; }
  get queued() { return this.#state === 'connected' ? 0 : this.#requests.size; }

  get #up() { return this.#state === 'connected' && !(this.#ws.readyState > 1); }
  get #isTrying() { return this.#state !== 'disconnected' && !this.#timers.has('retry'); }

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
    this.#ws?.close(code, reason);
    this.#ws = null;
    this.#ended(code, reason, true);
  }

  publish(channel, body, options) {
    const sent = this.#requests.ask({ type: 'publish', channel, ...carried(body) }, options);
    return quiet(sent.then((ack) => {
      if (ack) this.#channels.get(channel)?.own(ack);
      return ack;
    }));
  }

  direct(user, body, options) {
    return this.#requests.ask({ type: 'direct', user, ...carried(body) }, options);
  }

  who(channel, options) {
    return this.#requests.ask({ type: 'who', channel }, options);
  }

  history(channel, { since, limit, reverse, ...options } = {}) {
    const frame = { type: 'history', channel, since: since ?? undefined, limit, reverse };
    return quiet(this.#requests.ask(frame, options).then(withChannel));
  }

  presence(channel, options) {
    return this.#requests.ask({ type: 'presence', channel }, options);
  }

  presenceStats(channel, options) {
    return this.#requests.ask({ type: 'presence_stats', channel }, options);
  }

  rpc(method, body, options) {
    return quiet(this.#requests.ask({ type: 'rpc', method, body }, options).then((m) => m.body));
  }

  ping(options) {
    const started = this.#opt.now();
    const answer = this.#requests.ask({ type: 'ping' }, options);
    return quiet(answer.then(() => this.#opt.now() - started));
  }

  refresh(token, { channel, ...options } = {}) {
    const before = this.#token;
    if (channel !== undefined) this.#channels.get(channel)?.bring(token);
    else [this.#token, this.#isStale] = [token, false];
    if (!this.#up) return Promise.resolve(null);
    const refresh = this.#requests.ask({ type: 'refresh', channel, token }, options);
    if (channel !== undefined) return refresh;
    return quiet(refresh.catch((error) => {
      if (error.code !== 'lost' && this.#token === token) this.#token = before;
      throw error;
    }));
  }

  position(channel) {
    return this.#channels.get(channel)?.position ?? null;
  }

  join(channel, options = {}) {
    if (options.signal?.aborted) return quiet(Promise.reject(options.signal.reason));
    if (!this.#channels.has(channel)) {
      this.#channels.set(channel, new Channel(channel, this.#host, this.#address.isEchoed));
      if (this.#welcome) this.#channels.get(channel).greeted(this.#welcome);
    }
    return this.#channels.get(channel).add(options);
  }

  leave(channel, { onmessage, ...options } = {}) {
    const entry = this.#channels.get(channel);
    const ends = [...(entry?.joins ?? [])].filter((j) => !onmessage || j.onmessage === onmessage);
    ends.forEach((join) => join.end(new StentorError('left', `left ${channel}`)));
    if (onmessage && (!entry || entry.joins.size)) return Promise.resolve({ channel });
    entry?.away();
    this.#channels.delete(channel);
    if (!this.#up) return Promise.resolve({ channel });
    return quiet(this.#requests.ask({ type: 'leave', channel }, options).then((answer) => {
      emit(this, 'left', { ...answer, own: true });
      return answer;
    }));
  }

  messages(channel, options) {
    return messages(this, channel, options);
  }

  #link() {
    return {
      isUp: () => this.#up,
      isOff: () => this.#state === 'disconnected',
      buffered: () => this.#ws.bufferedAmount,
      bytesMax: () => this.#welcome.message_bytes,
      send: (text) => this.#ws.send(text),
      refused: (frame) => emit(this, 'dropped', frame),
    };
  }

  #channelHost() {
    return {
      opt: this.#opt,
      timers: this.#timers,
      isUp: () => this.#up,
      id: () => this.id,
      make: (...args) => this.#requests.make(...args),
      emit: (type, detail) => emit(this, type, detail),
      call: (run, message) => call(this.#opt.reportError, run, message),
      drop: (reason) => this.#drop(reason),
      isMine: (channel) => this.#channels.get(channel.name) === channel,
      forget: (channel, error) => this.#forget(channel, error),
    };
  }

  #forget(channel, error) {
    if (this.#channels.get(channel.name) !== channel) return;
    if (!error) return void this.leave(channel.name);
    this.#channels.delete(channel.name);
    channel.end(error);
  }

  #open() {
    this.#timers.disarm('retry');
    this.#wake.listen();
    this.#state = 'connecting';
    this.#isPut = this.#wake.isHidden;
    if (this.#isPut) return;
    const turn = ++this.#turn;
    const { getToken, connectTimeout } = this.#opt;
    const isAsked = getToken && (this.#isStale || !this.#token);
    if (isAsked || this.#address.isAsked) {
      const isCurrent = () => turn === this.#turn;
      Promise.all([
        isAsked && askToken(getToken, {}, this.#timers, connectTimeout),
        this.#address.ready(this.#timers),
      ]).then(([token, isKnown]) => {
        if (!isCurrent()) return;
        if (!isKnown) return this.#ended(1006, 'no url', true);
        if (token === null) return this.#ended(1006, 'no token', true);
        if (isAsked) this.#token = token;
        this.#dial();
      }, (error) => {
        if (isCurrent()) emit(this, 'error', error);
        if (isCurrent()) this.#ended(1006, error.message);
      });
    } else if (!this.#dial()) return;
    emit(this, 'state', { state: 'connecting', attempt: this.#attempt, retryInMs: null });
  }

  #dial() {
    let ws;
    try {
      const Socket = this.#opt.WebSocket ?? globalThis.WebSocket;
      if (!Socket) throw new Error('no WebSocket here: pass the option WebSocket');
      const isKnown = this.position(this.#address.channel) !== null;
      ws = new Socket(this.#address.dialled(isKnown), offers(PROTOCOL, this.#token));
    } catch (error) {
      this.#ended(1006, error.message, true);
      return false;
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
    ws.onerror = ignore;
    this.#timers.arm('open', this.#opt.connectTimeout, () => this.#drop('no welcome in time'));
    return true;
  }

  #drop(reason, code = 1006) {
    this.#ws?.close();
    this.#ws = null;
    this.#ended(code, reason);
  }

  #ended(code, reason, final = isFinal(code) || (code === EXPIRED && !this.#opt.getToken)) {
    this.#timers.disarm('open', 'stable', 'watch', 'retry', 'refresh');
    this.#turn += 1;
    this.#isStale ||= code === EXPIRED || !this.#welcome;
    this.#welcome = null;
    const attempt = this.#attempt;
    const retryInMs = final ? null : backoff(attempt, this.#opt.random);
    const state = (this.#state = final ? 'disconnected' : 'connecting');
    if (final) this.#wake.stop();
    else {
      this.#attempt += 1;
      this.#timers.arm('retry', retryInMs, () => this.#open());
    }
    this.#channels.forEach((channel) => channel.away());
    for (const request of this.#requests.all) {
      if (request.sent) request.fail(lost(code, reason));
      else if (final) request.fail(disconnected());
    }
    for (const channel of final ? this.#channels.values() : []) {
      channel.joins.forEach((join) => join.fail(disconnected()));
    }
    emit(this, 'close', { code, reason, final, retryInMs });
    if (this.#state === state && !this.#ws) emit(this, 'state', { state, attempt, retryInMs });
  }

  #receive(text) {
    this.#watch.hear();
    let m;
    try {
      m = Object(JSON.parse(text));
      if (m.type === 'message') m = unpacked(m);
    } catch {
      return emit(this, 'error', new StentorError('malformed', 'the server sent no JSON'));
    }
    const request = this.#requests.find(m.id);
    const channel = m.direct ? null : this.#channels.get(m.channel);
    if (m.type === 'message') channel ? channel.hear(m) : emit(this, 'message', m);
    else if (m.type === 'welcome') this.#arrive(m);
    else if (m.type === 'gap') channel ? channel.gap(m) : emit(this, 'gap', m);
    else if (m.type === 'expiring') {
      const { type, ...expiring } = m;
      emit(this, 'expiring', expiring);
      m.channel === undefined ? this.#renew() : channel?.renew();
    }
    else if (m.type === 'error') {
      const { code, text, status, temporary } = m;
      const error = new StentorError(code, text);
      if (code === 'rejected') Object.assign(error, { status, temporary });
      request ? request.fail(error) : emit(this, 'error', error);
    } else if (request) request.done(m);
    else if (m.type === 'left' && m.client === undefined) this.#sentAway(m);
    else if (m.type === 'joined' && m.client === undefined) {
      channel?.given(m);
      if (!channel) emit(this, 'joined', { ...m, own: true, missed: null, recovered: null });
    } else if (m.type === 'joined' || m.type === 'left') emit(this, m.type, { ...m, own: false });
    else if (m.type === 'crowd') emit(this, 'crowd', m);
  }

  #sentAway(left) {
    const channel = this.#channels.get(left.channel);
    const isExpired = left.reason === 'expired';
    if (channel && !(isExpired && channel.lapse())) {
      const code = isExpired ? 'expired_token' : 'left';
      this.#forget(channel, new StentorError(code, `left ${left.channel}`));
    }
    emit(this, 'left', { ...left, own: true });
  }

  #arrive(welcome) {
    this.#timers.disarm('open');
    this.#welcome = welcome;
    this.#state = 'connected';
    this.#isStale = false;
    this.#timers.arm('stable', this.#opt.stableAfter, () => { this.#attempt = 0; });
    this.#watch.start();
    const queued = this.#requests.all;
    this.#channels.forEach((channel) => channel.greeted(welcome));
    this.#channels.get(welcome.channel)?.given(welcome);
    this.#channels.forEach((channel) => channel.send());
    queued.forEach((request) => request.send());
    emit(this, 'welcome', welcome);
    emit(this, 'state', { state: 'connected', attempt: this.#attempt, retryInMs: null });
  }

  #renew() {
    const { getToken, connectTimeout, random } = this.#opt;
    const [turn, renewal] = [this.#turn, ++this.#renewals];
    const isCurrent = () => turn === this.#turn && renewal === this.#renewals && this.#up;
    if (!getToken || !isCurrent()) return;
    renew(isCurrent, {
      ask: () => askToken(getToken, {}, this.#timers, connectTimeout),
      take: (token) => this.refresh(token),
      giveUp: () => this.close(1000, 'no token'),
      failed: (error) => emit(this, 'error', error),
      later: (tries, run) => this.#timers.arm('refresh', backoff(tries, random), run),
    });
  }

  #wakeUp() {
    if (this.#timers.has('retry') || this.#isPut) this.#open();
    else this.#watch.probe();
  }
}

export {
  Stentor, Stentor as Client, Stentor as default, StentorError, backoff, isFinal,
};
