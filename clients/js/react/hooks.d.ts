//! Types of the React hooks, and what each promises.
import type { ReactElement, ReactNode } from 'react';
import type {
  Body as Payload, ChannelTokenRequest, Position, Publication, PublishAck, RequestOptions, State,
  Stentor, Token,
} from './stentor.js';

/** Lends a client to all components inside. The application makes it, and closes it. */
export declare function StentorProvider(
  props: { client: Stentor; children?: ReactNode },
): ReactElement;

/** The client of the nearest provider, or `client`; throws where there is neither. */
export declare function useStentor(client?: Stentor): Stentor;

/** The state of the connection; the component renders again when it changes. */
export declare function useConnection(client?: Stentor): State;

export interface UseChannelOptions<Body = any> {
  /** In the place of the provider's client. */
  client?: Stentor | undefined;
  /** Newest messages to fetch from the server's history after the join. Default 0. */
  history?: number | undefined;
  /** Newest messages to keep in `messages`. Default 100; 0 keeps all. */
  keep?: number | undefined;
  /** Ask for `joined` and `left` events about others. */
  presence?: boolean | undefined;
  /** Where an earlier life of the page had come to; counts for the first join. */
  since?: Position | null | undefined;
  /** A token for this channel. */
  token?: string | undefined;
  /** Asked for a token before each join of this channel. The newest one given is asked. */
  getToken?: ((about: ChannelTokenRequest) => Token) | undefined;
  /** Called with each live message, once. The newest one given is called. */
  onMessage?: ((message: Publication<Body>) => void) | undefined;
}

/**
 * `idle`: no channel. `joining`: not yet a member, or the connection is away. `refused`: the server
 * said no, as `error` tells. `left`: the server took this client out.
 */
export type ChannelStatus = 'idle' | 'joining' | 'joined' | 'refused' | 'left';

export interface ChannelView<Body = any> {
  /** In the order of the channel, the oldest first. */
  messages: Publication<Body>[];
  status: ChannelStatus;
  /** Of the join, or of the request for history. */
  error: Error | null;
  /** True if messages were lost that nobody could bring. */
  isIncomplete: boolean;
  /** Publishes to the channel. */
  publish(body: Payload, options?: RequestOptions): Promise<PublishAck>;
}

/**
 * Joins a channel for as long as the component is mounted, or none where it is null. Components
 * that name one channel share its membership.
 */
export declare function useChannel<Body = any>(
  channel: string | null | undefined,
  options?: UseChannelOptions<Body>,
): ChannelView<Body>;
