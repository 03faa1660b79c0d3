//! Notices a dead connection: asks for a sign of life when it is quiet, and waits for one.

const LATE_MS = 1_000;

/**
 * `link` is the connection: `isOn()`, `ask()` for a sign of life, `drop(reason)`. One timer waits
 * until the connection is quiet, and then for any sound.
 */
export class Watch {
  #opt;
  #timers;
  #link;
  #isQuiet = false; // True from a probe until anything is heard.
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
      // A page that was frozen meanwhile has the answer still before it.
      if (this.#opt.now() > due + LATE_MS) return this.#awaitSound(LATE_MS);
      this.#link.drop('nothing heard in time');
    });
  }
}
