//! One channel of a client: its joins with their handlers, and how it recovers what was missed.
import { unpacked } from './binary.js';
import { StentorError, ignore, quiet } from './errors.js';
import { Order } from './order.js';
import { backoff } from './timers.js';
import { askToken, renew } from './token.js';

const REFUSALS_MAX = 4; // Each counts as an error of this client with the server.
const HISTORY_TRIES_MAX = 4;
const IS_TOKEN = new Set(['bad_token', 'expired_token', 'try_again']);
const IS_PASSING = new Set(['rate', 'dropped', 'timeout']);

/**
 * `host` is the client: its `opt` and `timers`, `isUp()`, `id()`, `make(frame, options, resolve,
 * reject)`, `emit(type, detail)`, `call(run, message)`, `drop(reason)`, `isMine(channel)` and
 * `forget(channel)`.
 */
export class Channel {
  joins = new Set();
  #handlers = new Set();
  #order;
  #host;
  #turn = 0; // Counts connections: what was asked on an earlier one is of no interest.
  #refusals = 0;
  #attempt = 0;
  #renewals = 0;
  #isAsking = false; // For a token.
  #isFetching = false;
  #hasHistory = true; // As far as is known on this connection.
  #isGiven = false; // The server has put this client into the channel by itself.

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

  /** Ends every join, those that wait for their answer with `error`. */
  end(error) {
    this.away();
    [...this.joins].forEach((join) => join.end(error));
  }

  /** The connection has ended, or this client has left. */
  away() {
    this.#turn += 1;
    this.#isAsking = this.#isFetching = false;
    this.#hasHistory = true;
    this.#isGiven = false;
    const { timers } = this.#host;
    timers.disarm(`token ${this.name}`, `history ${this.name}`, `refresh ${this.name}`);
    this.#order.left();
  }

  /** The server has greeted this client. */
  greeted({ sparse = false }) {
    this.#order.isSparse = sparse;
  }

  /** The server has put this client into the channel, for its address or its token. */
  given(position) {
    this.#isGiven = true;
    this.#order.welcome(position);
  }

  /** Joins, with a token if one is needed. */
  send() {
    const { timers, opt } = this.#host;
    timers.disarm(`token ${this.name}`);
    const first = this.#source;
    const given = [...this.joins].find((join) => join.token);
    if (!first || given?.getToken) {
      const { token } = given ?? {};
      if (first) given.token = null; // The next one is asked for.
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

  // The join that is asked for tokens.
  get #source() { return [...this.joins].find((join) => join.getToken); }

  /** A newer token, for joins that ask for none themselves. */
  bring(token) {
    this.joins.forEach((join) => { if (join.token) join.token = token; });
  }

  /** The token ends soon: a new one is asked for until the server has taken it. */
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

  /** There is to be no further token: this client leaves before the server sends it away. */
  #giveUp() {
    this.#host.make({ type: 'leave', channel: this.name }, {}, ignore, ignore);
    this.#refused(new StentorError('no_token', 'getToken brought no token'));
  }

  /** The token has ended, and this client is out. Returns true if it joins with another one. */
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
      // A token's time may have passed on the way, or the keys have changed: a new one may do.
      const isNew = IS_TOKEN.has(error.code) && [...this.joins].some((join) => join.getToken);
      this.#refusals += 1;
      const isOver = this.#refusals > REFUSALS_MAX || !(isNew || error.code === 'rate');
      if (isOver) return this.#refused(error);
      if (since) this.#order.again();
      this.#retry('token', ++this.#attempt, () => this.send());
    });
  }

  // A member of a channel is not told what it missed; a client that enters it again is.
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
      if (!this.#host.isMine(this)) return; // A handler has left the channel.
      if (item.type === 'gap') {
        const { epoch } = this.#order;
        this.#host.emit('gap', { channel: this.name, from: item.from, to: item.to, epoch });
        continue;
      }
      // Not those that one of them has taken back meanwhile.
      this.#handlers.forEach((run) => this.#handlers.has(run) && this.#host.call(run, item));
      this.#host.emit('message', item);
    }
  }

  // Asks the history for what was skipped. Until it has come, later publications wait.
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

/** A history's publications as messages like all others. */
export const withChannel = (answer) => ({
  ...answer,
  publications: (Array.isArray(answer.publications) ? answer.publications : [])
    .map((one) => unpacked({ type: 'message', channel: answer.channel, ...one })),
});
