//! Types of stentor.js, and what each member promises.

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** `disconnected`: not trying. `connecting`: trying, or waiting to try again. */
export type State = 'disconnected' | 'connecting' | 'connected';

/** Codes of the server's `error` messages. */
export type ServerErrorCode =
  | 'malformed' | 'unknown_type' | 'missing_field' | 'bad_name' | 'bad_id' | 'binary' | 'rate'
  | 'unknown_user' | 'not_joined' | 'too_many_channels' | 'no_room';

/**
 * `disconnected`: the client was closed, or ended for good. `lost`: the connection ended before
 * the answer, so whether it was done is unknown. `dropped`: the queue was full. `timeout`: no
 * answer in time. `left`: the channel was left before the join was answered.
 */
export type LocalErrorCode = 'disconnected' | 'lost' | 'dropped' | 'timeout' | 'left';

/** What a request rejects with; an aborted one rejects with its signal's reason. */
export declare class StentorError extends Error {
  constructor(code: ServerErrorCode | LocalErrorCode, text: string);
  readonly name: 'StentorError';
  readonly code: ServerErrorCode | LocalErrorCode | (string & {});
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
  body: Body;
  /** `base64` where a plain client sent binary. */
  encoding?: 'base64';
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
  encoding?: 'base64';
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
  message_bytes: number;
}

/** `joined` and `left` about this client. */
export interface OwnJoined {
  own: true;
  channel: string;
  /** Of the newest publication before the join. */
  offset: number;
  /**
   * Publications that passed while this client was away; null at the first join and where the
   * server has begun to count anew.
   */
  missed: number | null;
}
export interface OwnLeft {
  own: true;
  channel: string;
}
/** `joined` and `left` about another client, in channels joined with `presence`. */
export interface Presence {
  own: false;
  channel: string;
  client: number | string;
  user: string | null;
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

/** Each event is a `CustomEvent` with this `detail`. */
export interface StentorEvents {
  state: StateChange;
  welcome: Welcome;
  message: Message;
  joined: OwnJoined | Presence;
  left: OwnLeft | Presence;
  /** What no request's promise tells. */
  error: StentorError;
  /** A request that the full queue refused, or a message an iterator's full buffer let go. */
  dropped: { type: string; [field: string]: any };
  close: Closed;
}

export interface RequestOptions {
  /** Milliseconds from the call; what is given up while queued is never sent. */
  timeout?: number;
  signal?: AbortSignal;
}

export interface SendOptions extends RequestOptions {
  /** `false`: ask for no answer; the promise then resolves to undefined once it is sent. */
  ack?: boolean;
}

export interface JoinOptions {
  /** Ask for `joined` and `left` events about others; kept for each rejoin. */
  presence?: boolean;
  /** Called with each publication of this channel, until it is left. */
  onmessage?: (message: Publication) => void;
  /** Leaves the channel when aborted. */
  signal?: AbortSignal;
}

export interface MessagesOptions {
  presence?: boolean;
  signal?: AbortSignal;
  /** Messages kept for a reader that fell behind; over it the oldest go. Default 1,024. */
  maxBuffered?: number;
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
  user?: string;
  /** `false`: own publications do not come back. */
  echo?: boolean;
  /** Default true: connects right after the constructor has returned. */
  autoConnect?: boolean;
  /** Closes the client for good when aborted. */
  signal?: AbortSignal;
  /** Requests kept while connecting. Default 256; over it the new one is refused. */
  maxQueued?: number;
  /** Bytes the socket may hold unsent while connected. Default 1 MiB. */
  maxBufferedBytes?: number;
  /** Milliseconds a request waits for its answer. Default 15,000. */
  requestTimeout?: number;
  /** Milliseconds until the welcome. Default 10,000. */
  connectTimeout?: number;
  /** Milliseconds of silence until the client asks for a sign of life; 0: never. Default 25,000. */
  pingInterval?: number;
  /** Milliseconds that sign may take before the client reconnects. Default 10,000. */
  pongTimeout?: number;
  /** Milliseconds up after which the back-off starts anew. Default 5,000. */
  stableAfter?: number;
  /** The constructor to use; default the global one, which Node has from 22 on. */
  WebSocket?: WebSocketConstructor;
  /** From 0 up to 1, for the jitter. */
  random?: () => number;
  /** Milliseconds that only grow. */
  now?: () => number;
  setTimeout?: (run: () => void, ms: number) => any;
  clearTimeout?: (timer: any) => void;
}

/** True where the same client would meet the same end: 1002, 1007, 1008, 1009 and 3500 up. */
export declare function isFinal(code: number): boolean;

/** Milliseconds until attempt `attempt` (from 0): `random() * min(20 s, 500 ms * 2^attempt)`. */
export declare function backoff(attempt: number, random?: () => number): number;

/**
 * A connection to a Stentor server that comes back by itself and then joins its channels again.
 * Requests made while connecting wait in a bounded queue; those under way when a connection ends
 * are rejected with `lost` and never repeated.
 */
export declare class Stentor extends EventTarget {
  /** @param url `ws:`, `wss:`, `http:` or `https:`; in a page it may be relative, as `/ws`. */
  constructor(url: string | URL, options?: StentorOptions);

  /** The address in use, parameters included. */
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

  /** Publishing needs no join. Rejects with a `StentorError`. */
  publish(channel: string, body: Json, options: SendOptions & { ack: false }): Promise<void>;
  publish(channel: string, body: Json, options?: SendOptions): Promise<PublishAck>;
  /** To every connection of a user; rejects with `unknown_user` if there is none. */
  direct(user: string, body: Json, options: SendOptions & { ack: false }): Promise<void>;
  direct(user: string, body: Json, options?: SendOptions): Promise<DirectAck>;
  /** Settles with the first answer; after it, every reconnect joins again. */
  join(channel: string, options?: JoinOptions): Promise<Joined>;
  leave(channel: string, options?: RequestOptions): Promise<{ channel: string }>;
  who(channel: string, options?: RequestOptions): Promise<Who>;
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
    listener: (detail: StentorEvents[K], event: CustomEvent<StentorEvents[K]>) => void,
    options?: AddEventListenerOptions,
  ): () => void;

  addEventListener<K extends keyof StentorEvents>(
    type: K,
    listener: (event: CustomEvent<StentorEvents[K]>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

export { Stentor as Client };
export default Stentor;
