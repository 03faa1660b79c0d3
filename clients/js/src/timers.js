//! Pauses between attempts, and named timers of which each name has one at a time.

const FINAL_CODES = new Set([1002, 1007, 1008]);
const LONGEST_MS = 2 ** 31 - 1; // A timer that is asked for more fires at once.

/** True where the same client would meet the same end, so that coming back is no use. */
export const isFinal = (code) => code >= 3500 || FINAL_CODES.has(code);

/** Full jitter: clients that fell together must not return together. */
export const backoff = (attempt, random = Math.random) =>
  random() * Math.min(20_000, 500 * 2 ** attempt);

export class Timers {
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
