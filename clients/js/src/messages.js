//! A channel's publications as an iterator, with a bounded buffer.
import { emit } from './events.js';

const DONE = { value: undefined, done: true };

export function messages(client, channel, { signal, maxBuffered = 1024, ...options } = {}) {
  const buffer = [];
  const readers = [];
  let over = false;
  let failure = null;
  const take = (message) => {
    const reader = readers.shift();
    if (reader) return reader.resolve({ value: message, done: false });
    // The newest matter most to a reader that fell behind.
    if (buffer.push(message) > maxBuffered) emit(client, 'dropped', buffer.shift());
  };
  const end = (error) => {
    if (over) return;
    over = true;
    failure = error ?? null;
    stop();
    signal?.removeEventListener('abort', abort);
    client.leave(channel, { onmessage: take });
    readers.splice(0).forEach((r) => (failure ? r.reject(failure) : r.resolve(DONE)));
  };
  const abort = () => end();
  const stop = client.on('state', ({ state }) => state === 'disconnected' && end());
  signal?.addEventListener('abort', abort, { once: true });
  const onend = (error) => end(error.code === 'left' ? null : error);
  if (signal?.aborted) end();
  else client.join(channel, { ...options, onmessage: take, onend });
  return {
    [Symbol.asyncIterator]() { return this; },
    next: () => {
      if (buffer.length) return Promise.resolve({ value: buffer.shift(), done: false });
      if (failure) return Promise.reject(failure);
      if (over) return Promise.resolve(DONE);
      return new Promise((resolve, reject) => readers.push({ resolve, reject }));
    },
    return: () => {
      buffer.length = 0;
      end();
      return Promise.resolve(DONE);
    },
  };
}
