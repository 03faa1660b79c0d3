//! React hooks of the client: a channel's messages, and the state of the connection.
import {
  createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState,
  useSyncExternalStore,
} from 'react';

const Context = createContext(null);
const NOTHING = {
  messages: [], status: 'idle', error: null, isIncomplete: false,
};

/** Lends a client to all components inside. */
export function StentorProvider({ client, children }) {
  return createElement(Context.Provider, { value: client }, children);
}

/** The client of the nearest provider. */
export function useStentor(given) {
  const client = useContext(Context) ?? null;
  if (given ?? client) return given ?? client;
  throw new Error('no Stentor client: wrap the component in a StentorProvider, or pass one');
}

/** The state of the connection: `disconnected`, `connecting` or `connected`. */
export function useConnection(given) {
  const client = useStentor(given);
  const subscribe = useCallback((run) => client.on('state', () => run()), [client]);
  return useSyncExternalStore(subscribe, () => client.state, () => client.state);
}

// Messages in the order of their offsets, each once: the newest `keep` of them, or all for 0.
function merge(messages, news, keep) {
  const all = new Map(messages.map((message) => [message.offset, message]));
  news.forEach((message) => all.set(message.offset, message));
  return [...all.values()].sort((a, b) => a.offset - b.offset).slice(-keep);
}

/**
 * Joins a channel for as long as the component is mounted, and returns its messages. Components
 * that name one channel share its membership. `channel` may be null: nothing is joined then.
 */
export function useChannel(channel, options = {}) {
  const client = useStentor(options.client);
  const { history = 0, keep = 100, presence = false } = options;
  const [room, setRoom] = useState(NOTHING);
  const latest = useRef(options);
  useEffect(() => { latest.current = options; });

  useEffect(() => {
    if (channel === null || channel === undefined) return setRoom(NOTHING);
    const control = new AbortController();
    const { signal } = control;
    const change = (make) => {
      if (!signal.aborted) setRoom((before) => ({ ...before, ...make(before) }));
    };
    let epoch;
    const add = (news) => change(({ messages }) => ({ messages: merge(messages, news, keep) }));
    // Offsets of another epoch count anew: messages before them are over.
    const from = (position) => {
      if (epoch !== undefined && position.epoch !== epoch) change(() => ({ messages: [] }));
      epoch = position.epoch;
    };
    const onmessage = (message) => {
      add([message]);
      latest.current.onMessage?.(message);
    };
    const { since, token, getToken } = latest.current;
    setRoom({ ...NOTHING, status: 'joining' });
    const stops = [
      client.on('joined', (joined) => {
        if (!joined.own || joined.channel !== channel) return;
        from(joined);
        const isIncomplete = joined.recovered === false;
        change((before) => ({
          status: 'joined', error: null, isIncomplete: before.isIncomplete || isIncomplete,
        }));
      }),
      client.on('gap', (gap) => gap.channel === channel && change(() => ({ isIncomplete: true }))),
      client.on('left', (left) => {
        if (left.own && left.channel === channel) change(() => ({ status: 'left' }));
      }),
      client.on('close', () => change(({ status }) => ({
        status: status === 'joined' ? 'joining' : status,
      }))),
    ];
    const joins = {
      presence, onmessage, signal, since, token,
      getToken: getToken && ((about) => latest.current.getToken(about)),
    };
    client.join(channel, joins).then(async (joined) => {
      from(joined);
      change(() => ({ status: 'joined' }));
      if (!history) return;
      const past = await client.history(channel, { limit: history, reverse: true, signal });
      if (past.epoch === epoch) add(past.publications);
    }).catch((error) => change(({ status }) => ({
      // A channel that keeps no history is joined all the same.
      status: status === 'joined' ? status : 'refused', error,
    })));
    return () => {
      control.abort(new Error('unmounted'));
      stops.forEach((stop) => stop());
    };
  }, [client, channel, presence, history, keep]);

  const publish = useCallback((body, given) => client.publish(channel, body, given),
    [client, channel]);
  return useMemo(() => ({ ...room, publish }), [room, publish]);
}
