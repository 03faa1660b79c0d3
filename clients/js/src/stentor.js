//! The client: one WebSocket to a Stentor server that comes back by itself and misses nothing.
import { Address } from './address.js';
import { carried, unpacked } from './binary.js';
import { Channel, withChannel } from './channel.js';
import { StentorError, disconnected, ignore, lost, quiet } from './errors.js';
import { Events, call, emit } from './events.js';
import { messages } from './messages.js';
import { offers, withDefaults } from './options.js';
import { Requests } from './requests.js';
import { Timers, backoff, isFinal } from './timers.js';
import { askToken, renew } from './token.js';
import { Wake } from './wake.js';
import { Watch } from './watch.js';

const PROTOCOL = 'stentor.v1';
const EXPIRED = 3005;

export class Stentor extends Events {
  #address;
  #opt;
  #ws = null;
  #state = 'disconnected';
  #welcome = null;
  #attempt = 0;
  #turn = 0; // Counts attempts and their ends: what belongs to an earlier one is of no interest.
  #token;
  #isStale = false; // The token may be why the last attempt failed.
  #renewals = 0;
  #isPut = false; // An attempt is put off until the page is shown again.
  #requests;
  #channels = new Map(); // name -> Channel, joined again after a reconnect.
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
    // A turn later, so that listeners added right after `new` miss nothing.
    this.#state = 'connecting';
    queueMicrotask(() => this.#state === 'connecting' && !this.#turn && this.#open());
  }

  get url() { return this.#address.href; }
  get state() { return this.#state; }
  get id() { return this.#welcome?.client ?? null; }
  get user() { return this.#welcome?.user ?? null; }
  get channels() { return [...this.#channels.keys()]; }
  get queued() { return this.#state === 'connected' ? 0 : this.#requests.size; }

  // A message given to a closing socket would be lost: it waits for the next one instead.
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
    this.#ws?.close(code, reason); // First, as a bad code throws and then nothing has changed.
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
    if (!this.#up) return Promise.resolve(null); // The next connection brings it along.
    const refresh = this.#requests.ask({ type: 'refresh', channel, token }, options);
    if (channel !== undefined) return refresh;
    return quiet(refresh.catch((error) => {
      // The one before is still good, unless nobody knows if the server has taken this one.
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

  // With a handler only its joins end; the channel is left with the last of all.
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

  /** A channel is over: refused with `error`, or its last join was aborted. */
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

  /** Opens a socket, or ends for good where there is none. */
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
    ws.onerror = ignore; // A close always follows, and says more.
    this.#timers.arm('open', this.#opt.connectTimeout, () => this.#drop('no welcome in time'));
    return true;
  }

  // A dead path would keep the closing handshake waiting, so the end is declared from here.
  #drop(reason, code = 1006) {
    this.#ws?.close();
    this.#ws = null;
    this.#ended(code, reason);
  }

  #ended(code, reason, final = isFinal(code) || (code === EXPIRED && !this.#opt.getToken)) {
    this.#timers.disarm('open', 'stable', 'watch', 'retry', 'refresh');
    this.#turn += 1;
    // A browser is not told why the server refused to open a connection.
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
    // Before their requests fail, which is no news to them.
    this.#channels.forEach((channel) => channel.away());
    for (const request of this.#requests.all) {
      if (request.sent) request.fail(lost(code, reason));
      else if (final) request.fail(disconnected());
    }
    for (const channel of final ? this.#channels.values() : []) {
      channel.joins.forEach((join) => join.fail(disconnected()));
    }
    emit(this, 'close', { code, reason, final, retryInMs });
    // Unless a listener of `close` has already moved on.
    if (this.#state === state && !this.#ws) emit(this, 'state', { state, attempt, retryInMs });
  }

  #receive(text) {
    this.#watch.hear();
    let m;
    try {
      m = Object(JSON.parse(text)); // Even `null` has fields to look at then.
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
      channel?.given(m); // The token names it.
      if (!channel) emit(this, 'joined', { ...m, own: true, missed: null, recovered: null });
    } else if (m.type === 'joined' || m.type === 'left') emit(this, m.type, { ...m, own: false });
    else if (m.type === 'crowd') emit(this, 'crowd', m);
  }

  /** The server has ended this client's part in a channel. */
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
    // Joins first: what the queue publishes should be heard here too.
    const queued = this.#requests.all;
    this.#channels.forEach((channel) => channel.greeted(welcome));
    this.#channels.get(welcome.channel)?.given(welcome);
    this.#channels.forEach((channel) => channel.send());
    queued.forEach((request) => request.send());
    emit(this, 'welcome', welcome);
    emit(this, 'state', { state: 'connected', attempt: this.#attempt, retryInMs: null });
  }

  /** The token ends soon: a new one is asked for until the server has taken it. */
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

export { Stentor as Client, Stentor as default };
