//! What an application writes against stentor.d.ts. It must compile with and without DOM types.
import Default, { Client, Stentor, StentorError, backoff, isFinal } from '../../../src/web/stentor.js';
import type {
  Closed, Gap, History, Joined, Json, Member, Message, Position, PresenceStats, Publication, Refreshed,
  Serialisable, StentorEvents, StentorOptions, Who,
} from '../../../src/web/stentor.js';

interface Chat {
  text: string;
  tags?: readonly string[];
  at: Date;
}
interface Tree { kids: Tree[] }
interface AllOptional { a?: string }
interface OddNames { call: string; byteLength: number; arrayBuffer: string; size: null }
class Point {
  #secret = 1;
  x = 1;
  norm(): number { return Math.abs(this.x) + this.#secret; }
}
enum Colour { Red, Green }
type Json2 = { readonly deep: readonly [1, { readonly x: null }] };

declare const chat: Chat, tree: Tree, optional: AllOptional, odd: OddNames, json: Json;
declare const frozen: Readonly<Json2>, record: Record<string, unknown>, list: readonly Chat[];
declare const maybe: string | undefined, anything: any;

export const options: StentorOptions = {
  user: maybe,
  requestTimeout: Infinity,
  reportError(error: unknown): void { void error; },
  random: Math.random,
};
export const client: Stentor = new Stentor('ws', options);
export const others: readonly Stentor[] = [
  new Client({ href: 'ws://host/ws' }),
  new Client(() => 'ws://host/ws'),
  new Client(async () => ({ href: 'wss://host/ws' })),
  new Client(() => null),
  // @ts-expect-error No address.
  new Client(() => 5),
  new Default('wss://host/ws', { echo: false, autoConnect: false }),
];

export function bodies(): void {
  void client.publish('a', chat);
  void client.publish('a', { text: 'x', nested: { list: [1, 'a', null, chat] } });
  void client.publish('a', [chat, tree]);
  void client.direct('bo', tree);
  const more: Serialisable[] = [optional, odd, json, frozen, record, list, anything];
  void client.publish('a', [...more, new Point(), Colour.Red, null, 1, true, 'x', new Date(0)]);
  void client.publish('a', new Point(), { ack: false }).then((none: void) => none);
  // @ts-expect-error JSON has no such value.
  void client.publish('a', undefined);
  // @ts-expect-error What may be undefined is none either.
  void client.publish('a', maybe);
  void client.publish('a', new Uint8Array(2));
  void client.publish('a', new ArrayBuffer(2), { ack: false });
  void client.direct('bo', new DataView(new ArrayBuffer(2)));
  // @ts-expect-error A map would become an empty object.
  void client.publish('a', new Map());
  // @ts-expect-error
  void client.publish('a', Promise.resolve(1));
  // @ts-expect-error
  void client.publish('a', () => 1);
  // @ts-expect-error
  void client.publish('a', 1n);
  // @ts-expect-error
  void client.publish('a', Symbol.iterator);
}

/** Code that is generic in the body needs no more than a constraint. */
export const relay = <Body extends object>(body: Body): Promise<{ offset: number }> =>
  client.publish('a', body, { timeout: 2 ** 40 });
export const typed = <Body extends Serialisable>(body: Body) => client.direct('bo', body);

export async function answers(): Promise<[number, string[], number, string | null]> {
  const joined: Joined = await client.join('a', {
    presence: true,
    onmessage: async (message) => { await client.publish('b', message.offset); },
  });
  const own = (message: Publication<Chat>): void => void message.body.text.length;
  await client.join('a', { onmessage: own });
  await client.leave('a', { onmessage: own, timeout: 10 });
  const who: Who = await client.who('a');
  for await (const message of client.messages<Chat>('a', { maxBuffered: 8 })) {
    const { text, tags = [] } = message.body;
    const epoch: string | undefined = joined.epoch;
    return [message.offset, [text, ...tags, epoch ?? ''], await client.ping(), client.user];
  }
  return [joined.offset, who.users, backoff(1), null];
}

export async function recovery(): Promise<(Position | null | number | boolean)[]> {
  const since: Position | null = client.position('a');
  await client.join('a', { since, token: 'x', getToken: async ({ channel }) => `${channel}` });
  await client.join('b', { since: maybe === undefined ? undefined : null, getToken: () => null });
  const { publications, more }: History<Chat> = await client.history<Chat>('a',
    { limit: 10, reverse: true, since: { epoch: 'e', offset: 1 }, timeout: 5 });
  void publications.map((one: Publication<Chat>) => one.body.text);
  const { clients } = await client.presence('a');
  const [first]: readonly Member[] = clients;
  const { users }: PresenceStats = await client.presenceStats('a');
  const refreshed: Refreshed | null = await client.refresh('token');
  void new Stentor('ws', { getToken: async () => null, token: maybe });
  // @ts-expect-error A token is text.
  void new Stentor('ws', { getToken: () => 1 });
  // @ts-expect-error A position has an epoch.
  void client.join('a', { since: { offset: 1 } });
  client.on('gap', (gap: Gap) => void (gap.to - gap.from));
  client.on('expiring', (expiring) => void expiring.in.toFixed());
  client.on('joined', (joined) => void (joined.own && joined.recovered === false));
  return [since, more, users, refreshed?.expires ?? null, first?.info as boolean];
}

export function events(): () => void {
  client.addEventListener('message', (event) => {
    const message: Message = event.detail;
    if (message.direct) void message.time.toFixed();
    else void message.offset.toFixed();
  });
  client.addEventListener('close', { handleEvent(event) { void event.detail.final; } });
  const listener = (closed: { readonly detail: Closed }): boolean => closed.detail.final;
  client.addEventListener('close', listener, { once: true });
  client.removeEventListener('close', listener);
  client.on('error', (error) => {
    if (error instanceof StentorError && error.code === 'too_large') client.close();
  });
  client.on('joined', (joined, event) => {
    const { detail }: { readonly detail: StentorEvents['joined'] } = event;
    const missed: number | null = joined.own ? joined.missed : null;
    void [missed, detail.channel];
  });
  // @ts-expect-error There is no such event.
  return client.on('mesage', () => isFinal(1009));
}
