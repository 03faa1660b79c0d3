//! Messages as the log shows them, and the channel's past as the server's history has it.
import { merge } from './log.js';

const HISTORY_MAX = 100;

/** The record of a message; `me` is this page's user, and `epoch` says what its offset counts. */
export function recordOf({ from, body, direct, offset, time }, { client, me, epoch }) {
  const data = typeof body !== 'string';
  return {
    name: from ? from.user ?? 'anonymous' : 'server',
    mine: !!from && (from.client === client.id || (from.user !== null && from.user === me)),
    direct: direct && 'to you alone',
    text: body instanceof Uint8Array ? `${body.length} bytes of binary`
      : data ? JSON.stringify(body, null, 2) : body,
    data,
    offset,
    epoch: offset ? epoch : undefined,
    time,
  };
}

/**
 * Puts into the log what the server keeps of a channel that was joined. Resolves to the number of
 * messages that are missed none the less, or null if nobody knows.
 */
export async function fill({ channel, offset, missed }, { client, me, isCurrent }) {
  let news = [];
  try {
    const wanted = { limit: HISTORY_MAX, reverse: true };
    const { publications, epoch } = await client.history(channel, wanted);
    if (isCurrent()) news = merge(publications.map((m) => recordOf(m, { client, me, epoch })));
  } catch {
    // The channel keeps none; the state says if the connection is at fault.
  }
  const isMissed = (record) => record.offset > offset - missed && record.offset <= offset;
  return missed === null ? null : missed - news.filter(isMissed).length;
}
