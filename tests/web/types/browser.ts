//! What holds in a browser only.
import { Stentor } from '../../../src/web/stentor.js';
import type { Message } from '../../../src/web/stentor.js';

const client = new Stentor(location.href, { WebSocket, reportError });
const later = (event: CustomEvent<Message>): number => event.detail.time;
client.addEventListener('message', later);
client.on('message', (_, event) => later(event));
// @ts-expect-error Binary data.
void client.publish('a', new Blob(['x']));
// @ts-expect-error
void client.publish('a', new File(['x'], 'x.txt'));
void client.publish('a', { width: innerWidth, rect: document.body.getBoundingClientRect() });
