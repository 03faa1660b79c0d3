//! An `EventTarget` whose listeners cannot harm each other, nor the code that tells them.

export class Events extends EventTarget {
  #reportError;
  #guards = new WeakMap(); // listener -> the same, but what it throws is reported.

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

export const emit = (target, type, detail) =>
  target.dispatchEvent(new CustomEvent(type, { detail }));

/** Calls `run`; what it throws is reported. The promise of an async function counts. */
export function call(reportError, run, ...args) {
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
