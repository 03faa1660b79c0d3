//! Hints of the browser: the network is back or gone, the page is shown, hidden, stored or awake.

/** Calls `wake`, `probe` and `hide` of `told` as the page's life goes. */
export class Wake {
  #told;
  #heard = null;
  isHidden = false; // In the back/forward cache, or on the way there.

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
    // An open socket would keep the page out of the back/forward cache.
    hear(page, 'pagehide', () => {
      this.isHidden = true;
      hide();
    });
    hear(page, 'pageshow', () => {
      this.isHidden = false;
      wake();
    });
    // Timers of a hidden page are late, and those of a frozen one stand still.
    hear(page.document, 'resume', wake);
    hear(page.document, 'visibilitychange', () => page.document.hidden || wake());
  }

  stop() {
    this.#heard?.abort();
    this.#heard = null;
    this.isHidden = false;
  }
}
