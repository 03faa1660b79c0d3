//! Types of stentor.js, and what each member promises. They need no types of the DOM or of Node.

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * What a body may be: everything that `JSON.stringify` writes down, interfaces and classes
 * included. Not functions, maps and sets, nor binary data, which can only be a whole body.
 */
export type Serialisable = null | boolean | number | string | SerialisableObject;
/** Bytes as a whole body: receivers get them as a `Uint8Array`. */
export type BinaryBody = ArrayBuffer | ArrayBufferView;
export type Body = Serialisable | BinaryBody;
/** Its members of type never tell binary data, maps, promises and functions by what they have. */
export interface SerialisableObject {
  [key: string]: any;
  [Symbol.toStringTag]?: never;
  [Symbol.hasInstance]?: never;
  /** A `Blob` has it as a method. */
  arrayBuffer?: Serialisable | undefined;
}

/** The part of an `AbortSignal` that is used here. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: any;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** `disconnected`: not trying. `connecting`: trying, or waiting to try again. */
export type State = 'disconnected' | 'connecting' | 'connected';

/** Codes of the server's `error` messages. */
export type ServerErrorCode =
  | 'malformed' | 'unknown_type' | 'missing_field' | 'bad_name' | 'bad_id' | 'binary' | 'rate'
  | 'unknown_user' | 'not_joined' | 'too_many_channels' | 'no_room' | 'no_history' | 'wrong_epoch'
  | 'bad_token' | 'expired_token' | 'denied' | 'unknown_namespace' | 'not_available' | 'too_large'
  | 'rejected' | 'try_again' | 'unavailable';

/**
 * `disconnected`: the client was closed, or ended for good. `lost`: the connection ended before
 * the answer, so whether it was done is unknown. `dropped`: the queue was full. `timeout`: no
 * answer in time. `left`: the channel was left before the join was answered. `too_large`: over the
 * server's `message_bytes`, and not sent. `no_token`: `getToken` failed, took too long or, for a
 * join, brought none. `no_url`: the function that was given as the address failed or took too long.
 */
export type LocalErrorCode =
  | 'disconnected' | 'lost' | 'dropped' | 'timeout' | 'left' | 'too_large' | 'no_token' | 'no_url';

/**
 * What a request rejects with; an aborted one rejects with its signal's reason, and one whose body
 * is not JSON with a `TypeError`.
 */
export declare class StentorError extends Error {
  constructor(code: ServerErrorCode | LocalErrorCode, text: string);
  readonly name: 'StentorError';
  readonly code: ServerErrorCode | LocalErrorCode | (string & {});
  /** Of a `rejected`: the number that the application's backend has given. */
  readonly status?: number;
  /** Of a `rejected`: true if the same request may succeed later. */
  readonly temporary?: boolean;
}

/** How far a channel was heard: an offset, and the numbering that it belongs to. */
export interface Position {
  epoch: string;
  offset: number;
}

export interface Sender {
  client: number | string;
  user: string | null;
}

/** A publication of a joined channel. `from` is null for the server's own API. */
export interface Publication<Body = any> {
  type: 'message';
  direct?: undefined;
  channel: string;
  /** Counts from 1 without gaps per channel while the server runs. */
  offset: number;
  from: Sender | null;
  /** Unix milliseconds, the server's clock. */
  time: number;
  /** A `Uint8Array` where its sender published bytes. */
  body: Body;
}

/** A message to this user alone. */
export interface DirectMessage<Body = any> {
  type: 'message';
  direct: true;
  channel?: undefined;
  offset?: undefined;
  from: Sender | null;
  time: number;
  body: Body;
}

export type Message<Body = any> = Publication<Body> | DirectMessage<Body>;

export interface Welcome {
  type: 'welcome';
  client: number | string;
  user: string | null;
  channel: string | null;
  /** Seconds. */
  ping_interval: number;
  /** Seconds. */
  pong_timeout: number;
  /** The most that a message to the server may have. */
  message_bytes: number;
  /** Of the channel that the address names: while it is the same, so is the count of offsets. */
  epoch?: string;
}

/** `joined` and `left` about this client: `joined` comes after what was recovered. */
export interface OwnJoined {
  own: true;
  channel: string;
  /** Of the newest publication before the join. */
  offset: number;
  /** Another one after a restart of the server, which then counts offsets anew. */
  epoch?: string;
  /**
   * After a reconnect, or with `since`: true if every publication since then was handed on, false
   * if some were lost or nobody can tell. Null at a first join.
   */
  recovered: boolean | null;
  /**
   * Publications that passed while this client was away and were not recovered; null at the first
   * join and where the server has begun to count anew.
   */
  missed: number | null;
  /** Seconds for which the token for the channel is valid, if it has one that ends. */
  expires?: number;
  /** What the server's side says about this subscription. */
  data?: any;
}
export interface OwnLeft {
  own: true;
  channel: string;
  /**
   * `server`: the server's API has taken this client out. `expired`: the token for the channel has
   * ended; with `getToken` the client joins again. Absent after `leave`.
   */
  reason?: 'server' | 'expired' | (string & {});
}
/** `joined` and `left` about another client, in channels joined with `presence`. */
export interface Presence {
  own: false;
  channel: string;
  client: number | string;
  user: string | null;
  /** What its token says about it. */
  info?: any;
}

/** Instead of these where a channel has too many members to name each: once a second at most. */
export interface Crowd {
  type: 'crowd';
  channel: string;
  /** Connections in the channel. */
  count: number;
  /** True where it has become smaller: from here on each join and leave is told again. */
  named: boolean;
}

/**
 * Publications that the server did not send to this client, because it was too slow, and that the
 * channel's history has not got. Those that it has are fetched and handed on in order.
 */
export interface Gap {
  channel: string;
  from: number;
  to: number;
  epoch?: string;
}

/** The token ends soon. With `getToken` a new one is on its way; else `refresh` takes one. */
export interface Expiring {
  /** Seconds. */
  in: number;
  /** The channel that the token is for, if it is not the one of the connection. */
  channel?: string;
}

export interface StateChange {
  state: State;
  /** Attempts since the last connection that stayed up. */
  attempt: number;
  /** How long until the next attempt; null unless the client waits for it. */
  retryInMs: number | null;
}

/** One connection, or one attempt at it, has ended. */
export interface Closed {
  code: number;
  reason: string;
  /** True if the client will not come back by itself. */
  final: boolean;
  retryInMs: number | null;
}

type NativeEvent = typeof globalThis extends { CustomEvent: { prototype: infer Native } } ? Native
  : { readonly type: string; readonly timeStamp: number; stopImmediatePropagation(): void };
/** A `CustomEvent`. */
export type StentorEvent<Detail> = Omit<NativeEvent, 'detail'> & { readonly detail: Detail };
/** As the DOM has it, parameters of a narrower type included. An async one may reject. */
export type Listener<Event> =
  | { bivariant(event: Event): void }['bivariant']
  | { handleEvent(event: Event): void };
export interface ListenerOptions {
  capture?: boolean | undefined;
  once?: boolean | undefined;
  passive?: boolean | undefined;
  signal?: any;
}

/** Each event is a `CustomEvent` with this `detail`. */
export interface StentorEvents {
  state: StateChange;
  welcome: Welcome;
  message: Message;
  joined: OwnJoined | Presence;
  left: OwnLeft | Presence;
  crowd: Crowd;
  /** What no request's promise tells. */
  error: StentorError;
  gap: Gap;
  expiring: Expiring;
  /** A request that the full queue refused, or a message an iterator's full buffer let go. */
  dropped: { type: string; [field: string]: any };
  close: Closed;
}

/** Milliseconds: `Infinity`, and what is more than 2^31 - 1, mean never. */
export type Milliseconds = number;

export interface RequestOptions {
  /** From the call; what is given up while queued is never sent. */
  timeout?: Milliseconds | undefined;
  signal?: Signal | undefined;
}

export interface SendOptions extends RequestOptions {
  /** `false`: ask for no answer; the promise then resolves to undefined once it is sent. */
  ack?: boolean | undefined;
}

export interface SubscriptionOptions {
  /** Ask for `joined` and `left` events about others; kept for each rejoin. */
  presence?: boolean | undefined;
  /**
   * Where an earlier life of the page had come to (`position()`): what was published since then is
   * handed on first, if the server still has it. Counts for the first join of a channel.
   */
  since?: Position | null | undefined;
  /** A token for this channel, where it needs one. */
  token?: string | undefined;
  /**
   * Asked for a token before every join of this channel, those after a reconnect included, but not
   * where `token` still serves, and when the one in use ends soon. One that fails is asked again
   * after a pause; null gives up.
   */
  getToken?: ((about: ChannelTokenRequest) => Token) | undefined;
}

/** A token, or null for none; anything else counts as a failure. */
export type Token = string | null | PromiseLike<string | null>;

export interface ChannelTokenRequest {
  channel: string;
  /** This connection's id. */
  client: number | string | null;
}

export interface JoinOptions extends SubscriptionOptions {
  /**
   * Called with each publication of this channel until this join ends: once a publication, however
   * many joins name it. What it throws, or rejects with, goes to `reportError`.
   */
  onmessage?: ((message: Publication) => void) | undefined;
  /** Ends this join when aborted; the channel is left with the last join of it. */
  signal?: Signal | undefined;
}

export interface LeaveOptions extends RequestOptions {
  /** Ends the joins with this handler only; the channel is left with the last join of it. */
  onmessage?: ((message: Publication) => void) | undefined;
}

export interface RefreshOptions extends RequestOptions {
  /** The token is for this channel, and not for the connection. */
  channel?: string | undefined;
}

export interface HistoryOptions extends RequestOptions {
  /** Only what was published after this position, or with `reverse` before it. */
  since?: Position | null | undefined;
  /** The most that are wanted; the server may send fewer, and then says `more`. */
  limit?: number | undefined;
  /** The newest first. */
  reverse?: boolean | undefined;
}

export interface MessagesOptions extends SubscriptionOptions {
  signal?: Signal | undefined;
  /** Messages kept for a reader that fell behind; over it the oldest go. Default 1,024. */
  maxBuffered?: number | undefined;
}

export interface PublishAck {
  type: 'ack';
  id: number;
  channel: string;
  offset: number;
}
export interface DirectAck {
  type: 'ack';
  id: number;
  /** How many connections of the user got it. */
  clients: number;
}
export interface Joined {
  type: 'joined';
  id: number;
  channel: string;
  offset: number;
  epoch?: string;
  /** Only where the join had a `since`. */
  recovered?: boolean;
}
export interface History<Body = any> {
  type: 'history';
  id: number;
  channel: string;
  publications: Publication<Body>[];
  /** Of the channel's newest publication. */
  offset: number;
  epoch: string;
  /** True if the history has more than this. */
  more: boolean;
}
export interface Member {
  client: number | string;
  user: string | null;
  /** What its token says about it. */
  info?: any;
}
export interface PresenceList {
  type: 'presence';
  id: number;
  channel: string;
  /** Connections in the channel. */
  count: number;
  clients: Member[];
  /** True if `clients` was cut. */
  more: boolean;
}
export interface PresenceStats {
  type: 'presence_stats';
  id: number;
  channel: string;
  clients: number;
  /** Distinct ones. */
  users: number;
  /** False if some users of several connections may count several times. */
  exact: boolean;
}
export interface Refreshed {
  type: 'refreshed';
  id: number;
  /** Seconds for which the token is valid; null for one without an end. */
  expires: number | null;
  /** The channel that the token is for, if it is not the one of the connection. */
  channel?: string;
}
export interface Who {
  type: 'who';
  id: number;
  channel: string;
  /** Connections in the channel. */
  clients: number;
  /** Sorted names, 1,000 at most. */
  users: string[];
  /** True if `users` was cut. */
  more: boolean;
}

/** Anything that makes browser-like sockets: the global one, or the `ws` package's. */
export type WebSocketConstructor = new (url: string, protocols?: string[]) => any;

export interface StentorOptions {
  /** Who this client claims to be. */
  user?: string | undefined;
  /** `false`: own publications do not come back. */
  echo?: boolean | undefined;
  /** Says to the server who this client is; in the address, as browsers can send no header. */
  token?: string | undefined;
  /**
   * Asked for a token: for the first connection unless there is `token`, after an attempt that may
   * have failed for its token, and before the one in use ends. One that fails is asked again after
   * a pause; null closes the client for good.
   */
  getToken?: (() => Token) | undefined;
  /** Default true: connects right after the constructor has returned. */
  autoConnect?: boolean | undefined;
  /** Closes the client for good when aborted. */
  signal?: Signal | undefined;
  /** Requests kept while connecting. Default 256; over it the new one is refused. */
  maxQueued?: number | undefined;
  /** Bytes the socket may hold unsent while connected. Default 1 MiB. */
  maxBufferedBytes?: number | undefined;
  /** How long a request waits for its answer. Default 15,000. */
  requestTimeout?: Milliseconds | undefined;
  /** How long the welcome may take, and `getToken` before it. Default 10,000. */
  connectTimeout?: Milliseconds | undefined;
  /** Silence after which the client asks for a sign of life; 0: never. Default 25,000. */
  pingInterval?: Milliseconds | undefined;
  /** How long that sign may take before the client reconnects. Default 10,000. */
  pongTimeout?: Milliseconds | undefined;
  /** Time up after which the back-off starts anew. Default 5,000. */
  stableAfter?: Milliseconds | undefined;
  /** The constructor to use; default the global one, which Node has from 22 on. */
  WebSocket?: WebSocketConstructor | undefined;
  /** From 0 up to 1, for the jitter. */
  random?: (() => number) | undefined;
  /** Milliseconds that only grow. */
  now?: (() => number) | undefined;
  setTimeout?: ((run: () => void, ms: number) => any) | undefined;
  clearTimeout?: ((timer: any) => void) | undefined;
  /**
   * Told what a handler or listener throws; all others are called none the less. Default: the
   * global `reportError`, which browsers have, else `console.error`.
   */
  reportError?: ((error: unknown) => void) | undefined;
}

export type Address = string | { readonly href: string };

/** True where the same client would meet the same end: 1002, 1007, 1008 and 3500 up. */
export declare function isFinal(code: number): boolean;

/** Milliseconds until attempt `attempt` (from 0): `random() * min(20 s, 500 ms * 2^attempt)`. */
export declare function backoff(attempt: number, random?: () => number): number;

/**
 * A connection to a Stentor server that comes back by itself, joins its channels again and recovers
 * what was published meanwhile, where the server keeps history: each publication of a joined
 * channel is handed on once and in order. `joined` with `recovered: false`, and `gap`, tell of those
 * that were lost. Requests made while connecting wait in a bounded queue; those under way when a
 * connection ends are rejected with `lost` and never repeated.
 */
export declare class Stentor {
  /**
   * @param url `ws:`, `wss:`, `http:` or `https:`. In a page it may be relative to the document, so
   * that `ws` stays right under any path, and in a worker to its script. A function is asked for the
   * address before each attempt, for `connectTimeout` at most: one that fails is asked again after a
   * pause, and null closes the client for good.
   */
  constructor(url: Address | (() => Address | null | PromiseLike<Address | null>),
    options?: StentorOptions);

  /** The address in use, parameters included, but not the token; empty until it is known. */
  readonly url: string;
  readonly state: State;
  /** This connection's id while connected, else null. */
  readonly id: number | string | null;
  /** The user as the server knows it while connected, else null. */
  readonly user: string | null;
  /** Channels joined, or to be joined once connected. */
  readonly channels: string[];
  /** Requests that wait for a connection. */
  readonly queued: number;

  /** Connects a disconnected client; its channels are joined again. */
  connect(): void;
  /** Ends the wait for the next attempt, or connects a disconnected client. */
  retryNow(): void;
  /** Says goodbye and stays away until `connect()`; what waits is rejected with `disconnected`. */
  close(code?: number, reason?: string): void;

  /** Publishing needs no join. Bytes arrive as bytes. Rejects with a `StentorError`. */
  publish(channel: string, body: Body, options: SendOptions & { ack: false }): Promise<void>;
  publish(channel: string, body: Body, options?: SendOptions): Promise<PublishAck>;
  /** To every connection of a user; rejects with `unknown_user` if there is none. */
  direct(user: string, body: Body, options: SendOptions & { ack: false }): Promise<void>;
  direct(user: string, body: Body, options?: SendOptions): Promise<DirectAck>;
  /** Settles with the first answer; after it, every reconnect joins again. */
  join(channel: string, options?: JoinOptions): Promise<Joined>;
  /** Ends all joins of the channel, or those with one handler, and leaves it with the last. */
  leave(channel: string, options?: LeaveOptions): Promise<{ channel: string }>;
  who(channel: string, options?: RequestOptions): Promise<Who>;
  /** What the server keeps of the channel; rejects with `no_history` where it keeps nothing. */
  history<Body = any>(channel: string, options?: HistoryOptions): Promise<History<Body>>;
  /** Who is in the channel, with what their tokens say about them. */
  presence(channel: string, options?: RequestOptions): Promise<PresenceList>;
  /** How many are in the channel. */
  presenceStats(channel: string, options?: RequestOptions): Promise<PresenceStats>;
  /** How far the channel was heard, to be kept and given to `join` as `since`; null if unknown. */
  position(channel: string): Position | null;
  /**
   * Replaces the token: at once if connected, with the server's answer, else from the next
   * connection on, with null.
   */
  refresh(token: string, options?: RefreshOptions): Promise<Refreshed | null>;
  /**
   * Calls a method of the application's backend and resolves to its answer. Rejects with
   * `not_available` where the server has none, and with `rejected` if the backend says no.
   */
  rpc<Answer = any>(method: string, body?: Serialisable, options?: RequestOptions): Promise<Answer>;
  /** The round trip in milliseconds. */
  ping(options?: RequestOptions): Promise<number>;

  /**
   * The channel's publications: `for await (const m of client.messages('x'))`. Joins it if need be,
   * and then leaves it at the end. Ends when aborted, left or disconnected; throws if the join is
   * refused.
   */
  messages<Body = any>(
    channel: string,
    options?: MessagesOptions,
  ): AsyncIterableIterator<Publication<Body>>;

  /** `addEventListener` with the detail first; returns what removes the listener. */
  on<K extends keyof StentorEvents>(
    type: K,
    listener: (detail: StentorEvents[K], event: StentorEvent<StentorEvents[K]>) => void,
    options?: ListenerOptions,
  ): () => void;

  addEventListener<K extends keyof StentorEvents>(
    type: K,
    listener: Listener<StentorEvent<StentorEvents[K]>> | null,
    options?: boolean | ListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: Listener<any> | null,
    options?: boolean | ListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: Listener<any> | null,
    options?: boolean | ListenerOptions,
  ): void;
  dispatchEvent(event: any): boolean;
}

export { Stentor as Client };
export default Stentor;
