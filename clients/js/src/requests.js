//! Requests by id: sent, or queued until the client is connected, and each settled once.
import { StentorError, disconnected, quiet } from './errors.js';

const BINARY = /^\[object (?:(?:Shared)?ArrayBuffer|Blob|File)\]$/;

// JSON would make an object of numbers of binary data, or an empty one, wherever it stands.
const encode = (frame) => JSON.stringify(frame, function check(key, value) {
  const given = this[key]; // `value` is what a `toJSON` made of it; a string is welcome.
  const isBinary = ArrayBuffer.isView(given) || BINARY.test(Object.prototype.toString.call(given));
  if (!isBinary || typeof value !== 'object') return value;
  throw new TypeError('binary data can only be a whole body, and no Blob: send it by itself');
});

// A body that is certainly small is not encoded only to be counted.
const isOver = (text, max) => text.length * 3 > max && new TextEncoder().encode(text).length > max;

/**
 * `link` is the connection: `isUp()`, `isOff()` (nobody tries to connect), `buffered()`,
 * `bytesMax()`, `send(text)`, and `refused(frame)` for what found no room.
 */
export class Requests {
  #opt;
  #timers;
  #link;
  #byId = new Map(); // While not connected all of them are queued.
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
    // Counted from the call: what is given up here is never sent later.
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
