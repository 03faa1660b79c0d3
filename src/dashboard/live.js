// The stream of snapshots: server-sent events, read with fetch because the key goes into a header.

/** Splits a stream of text into events, whatever its pieces are. */
export class Events {
  rest = '';

  /** Returns the events that are whole with this piece: `[name, data]`. */
  take(piece) {
    const parts = (this.rest + piece).split('\n\n');
    this.rest = parts.pop();
    return parts.map((part) => {
      const field = (name) => part.split('\n').find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      return [field('event'), JSON.parse(field('data') ?? 'null')];
    });
  }
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Longest wait between two attempts, in milliseconds. */
const PAUSE_MAX = 5_000;

/** No snapshot for so long means that the connection is dead: one comes each second. */
const SILENCE_MAX = 15_000;

/**
 * Reads the stream until `signal` is aborted, and connects again when it ends. `on` has a function for each event, and
 * `state(name, text)` for the connection: connecting, live, refused (the key is wrong), full, lost.
 */
export async function follow(key, on, signal) {
  let wait = 500;
  while (!signal.aborted) {
    const alarm = new AbortController();
    const stop = () => alarm.abort();
    signal.addEventListener('abort', stop);
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, SILENCE_MAX);
    };
    try {
      heard();
      const headers = key ? { 'X-API-Key': key } : {};
      const answer = await fetch('../api/live', { headers, cache: 'no-store', signal: alarm.signal });
      if (answer.status === 401 || answer.status === 403) {
        const told = await answer.json().catch(() => ({}));
        on.state('refused', answer.status === 401 ? '' : told.error?.message ?? '');
        return;
      }
      if (!answer.ok) throw Object.assign(new Error(), { state: answer.status === 503 ? 'full' : 'lost' });
      const events = new Events();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        heard();
        for (const [name, data] of events.take(value)) on[name]?.(data);
        wait = 500;
      }
      on.state('lost');
    } catch (error) {
      if (!signal.aborted) on.state(error.state ?? 'lost');
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
    if (signal.aborted) return;
    await pause(wait);
    wait = Math.min(wait * 2, PAUSE_MAX);
  }
}
