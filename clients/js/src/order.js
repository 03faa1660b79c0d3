//! The order of one channel: each publication once, by its offset, over reconnects and gaps.
// It knows no socket and no timer. What it returns is to be handed on in this order: publications,
// and `{type: 'gap', from, to}` for those that nobody can bring any more.

const HELD_MAX = 1_024;
const PAGE = 100;

const isCount = (offset) => Number.isSafeInteger(offset) && offset >= 0;
const sorted = (messages) => [...messages.keys()].sort((a, b) => a - b)
  .map((offset) => messages.get(offset));

export class Order {
  epoch;
  offset = null; // Of the newest publication that was handed on; null before the first join.
  // `out`: nothing is compared. `recovering`: a join with `since` is under way. `in`: live.
  #mode = 'out';
  isSparse = false; // Offsets have gaps, as many channels share one numbering.
  #isEchoed;
  #wasIn = false;
  #away = null; // The offset when the connection ended.
  #early = { count: 0, newest: 0 }; // What came before the join was answered.
  #held = new Map(); // Publications that wait for earlier ones.
  #fresh = new Map(); // The same while `recovering`: a new epoch may have begun to count anew.
  #isOther = false; // What comes while `recovering` may be of another epoch.
  #wanted = 0; // All up to here are on their way or must be asked for.
  #own = new Set(); // Offsets of this client's own publications, which do not come back.

  /** Strict: a skipped offset is a loss. Where own publications do not come back it is none,
   * and where offsets are sparse. */
  constructor(isEchoed) {
    this.#isEchoed = isEchoed;
  }

  get #isStrict() { return this.#isEchoed && !this.isSparse; }

  get isIn() { return this.#mode === 'in'; }
  get position() {
    return this.epoch === undefined || this.offset === null ? null
      : { epoch: this.epoch, offset: this.offset };
  }

  /** Starts behind a position of an earlier life of the page. */
  startAt({ epoch, offset }) {
    Object.assign(this, { epoch, offset });
    this.#wasIn = true;
  }

  /** The address names this channel: it is heard from now on. */
  welcome({ epoch, offset }) {
    if (this.isIn) return;
    this.#isOther = epoch !== this.epoch;
    if (this.offset !== null || !(offset >= 0)) return;
    this.#isOther = false;
    Object.assign(this, { epoch, offset });
    this.#mode = 'in';
  }

  /** The connection has ended. */
  left() {
    this.#mode = 'out';
    this.#away = this.offset;
    this.#early = { count: 0, newest: 0 };
    this.#fresh.clear();
    this.#isOther = false;
    this.#wanted = 0;
  }

  /** The join is sent again: what has come since the first one stays. */
  again() {
    this.#mode = 'out';
  }

  /** A join is about to be sent. Returns what it must say as `since`, if anything. */
  ask() {
    const since = this.#mode === 'out' ? this.position : null;
    if (since) this.#mode = 'recovering';
    if (since) this.#away ??= this.offset;
    return since ?? undefined;
  }

  /** A join was answered. */
  answered({ epoch, offset, recovered = false }) {
    const [before, isFirst] = [this.#mode, !this.#wasIn];
    if (!isCount(offset)) return verdict([], null, isFirst ? null : false); // Nothing to compare.
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

  /** A publication has come. */
  take(message) {
    const { offset } = message;
    if (!isCount(offset) || !offset) return [message]; // One without a number cannot be compared.
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

  /** The server did not send the publications `from` to `to`. */
  gap({ from, to, epoch = this.epoch }) {
    if (!isCount(from) || !isCount(to) || from > to) return [];
    const gone = [{ type: 'gap', from, to }];
    if (this.#mode === 'out' || epoch !== this.epoch) return gone;
    if (to <= this.offset) return this.#isEchoed ? [] : gone;
    // Where own publications do not come back, those before the gap were some.
    const isOwn = !this.#isStrict && this.isIn && !this.isWaiting && from > this.offset + 1;
    if (isOwn) this.offset = from - 1;
    this.#want(to);
    return this.#drain();
  }

  /** This client's own publication was acknowledged. */
  own(offset, epoch) {
    if (this.#isEchoed || epoch !== this.epoch || !(offset > this.offset)) return [];
    this.#own.add(offset);
    if (this.#own.size > HELD_MAX) this.#own.delete(Math.min(...this.#own));
    return this.isIn ? this.#drain() : [];
  }

  /** True while publications are missing that come before others which are here. */
  get isWaiting() { return this.#wanted > this.offset; }

  /** What to ask the history for next, while it waits. */
  get request() {
    const limit = Math.min(PAGE, this.#known(this.#wanted + 1) - this.offset - 1);
    return { since: this.position, limit };
  }

  /** The history has answered what was asked when all up to `before` had been handed on. */
  filled({ publications, epoch }, before) {
    if (epoch !== this.epoch) return this.giveUp();
    const items = [];
    for (const message of publications) {
      if (!isCount(message?.offset) || message.offset <= this.offset) continue;
      if (!this.isSparse) items.push(...this.#skipTo(message.offset));
      if (message.offset > this.offset) items.push(...this.#step(message));
    }
    // Nothing lies between what it has and what was wanted.
    if (this.isSparse && !publications.length) {
      this.offset = Math.max(this.offset, this.#wanted);
      return [...items, ...this.#drain()];
    }
    // Without a step forward the history has not got what comes next.
    if (this.offset === before) items.push(...this.#skipTo(this.#known(this.#wanted + 1)));
    return items;
  }

  /** Nobody can bring what is missing. */
  giveUp() {
    return this.#skipTo(this.#wanted + 1);
  }

  #want(offset) {
    this.#wanted = Math.max(this.#wanted, offset);
  }

  // One that finds no room is forgotten, and asked for with those that are missing.
  #hold(messages, message) {
    if (messages.size < HELD_MAX) messages.set(message.offset, message);
    else this.#want(message.offset);
  }

  /** The smallest offset above this one that is here, and at most `end`. */
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

  /** What is here and comes next. */
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

  /** All that is held up to `end`, whatever lies between. */
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

  /** Goes on before `end`: what is not here until then is gone. */
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

  // The count goes on: what the server could bring of what was missed has come.
  #rejoined(top, recovered) {
    sorted(this.#fresh).filter(({ offset }) => offset > this.offset)
      .forEach((message) => this.#hold(this.#held, message));
    this.#fresh.clear();
    // A gap in what was brought again: the history may have it.
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
