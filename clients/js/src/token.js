//! Tokens from the application: each is asked for in bounded time, and nothing else is one.
import { StentorError } from './errors.js';

/**
 * Asks the application for a token. Resolves to null if there is to be none, and rejects with
 * `no_token` if the application failed or took longer than `ms`.
 */
export function askToken(getToken, about, timers, ms) {
  const failed = (text, cause) =>
    Object.assign(new StentorError('no_token', text), cause && { cause });
  return new Promise((resolve, reject) => {
    const timer = timers.later(() => reject(failed('getToken took too long')), ms);
    new Promise((run) => { run(getToken(about)); }).then((token) => {
      if (token === null || (typeof token === 'string' && token)) resolve(token);
      else reject(failed('getToken brought neither a token nor null'));
    }, (error) => reject(failed(`getToken failed: ${error?.message ?? error}`, error)))
      .finally(() => timers.clear(timer));
  });
}
