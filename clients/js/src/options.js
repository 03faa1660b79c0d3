//! The choices of an application, and the address that follows from them.

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

/** The defaults, with what is given in their place; `undefined` counts as not given. */
export const withDefaults = (options) => ({
  ...DEFAULTS,
  ...Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)),
});

/** The address of the WebSocket, without the token. */
export function addressOf(given, { user, echo, token, getToken }) {
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  const url = new URL(given?.href ?? given, base);
  url.protocol = url.protocol.replace('http', 'ws');
  url.hash = ''; // No WebSocket may have one.
  if (user) url.searchParams.set('user', user);
  if (echo === false) url.searchParams.set('echo', 'false');
  return without(url, ...(token || getToken ? ['token'] : []));
}

/** `url` without some of its parameters. */
export function without(url, ...names) {
  const other = new URL(url);
  names.forEach((name) => other.searchParams.delete(name));
  // The server decodes percent signs only; a plus that was meant is %2B by here.
  other.search = other.search.replaceAll('+', '%20');
  return other;
}

/** The subprotocols to offer. The token is one of them: an address would end up in logs. */
export const offers = (protocol, token) =>
  (token ? [protocol, `stentor.token.${token}`] : [protocol]);
