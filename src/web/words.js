//! What the page says about ends of connections and about messages that were missed or not sent.

/** By close code. */
export const WHY = {
  1001: 'The server is going away.',
  1008: 'The server closed this connection for breaking one of its limits.',
  1009: 'A message was too large for this server, or for what is in front of it.',
  3008: 'This connection was too slow for what the channel says.',
  3500: 'Your name has connected from somewhere else, which ended the connection here.',
  3501: 'The server’s operator ended this connection.',
};
/** By error code. */
export const NOT_SENT = {
  lost: 'The connection ended before the server confirmed this',
  dropped: 'Not sent, too much is waiting',
  timeout: 'Not confirmed in time',
  unknown_user: 'Not sent, nobody of that name is connected',
  too_large: 'Not sent, too long for this server',
};
/** What is said of messages that nobody can bring; nothing if there are none. */
export function aboutMissed(missed) {
  if (missed === null) return 'The server has begun anew: what was missed is not known.';
  if (missed > 0) return missed === 1 ? 'One message was missed.' : `${missed} messages were missed.`;
  return '';
}
