//! What holds where the DOM's types, or Node's, are there.
import { Stentor } from '../../../src/web/stentor.js';
import type { Message } from '../../../src/web/stentor.js';

const abort = new AbortController();
export const client = new Stentor(new URL('http://host/ws'), {
  signal: abort.signal,
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
});
void client.join('a', { signal: AbortSignal.timeout(5) });
void client.publish('a', 1, { signal: abort.signal });

export const target: EventTarget = client;
target.addEventListener('state', () => client.retryNow(), { signal: abort.signal });
client.addEventListener('state', (event) => event.stopImmediatePropagation());
export function heard(event: Event): string { return event.type; }
client.addEventListener('message', heard);
client.on('message', (message: Message, event) => heard(event) + message.time, { once: true });
