//! Questions to the application, each with a bound in time, and the tokens that it brings.
import { StentorError } from './errors.js';

// Browsers take no other characters in a subprotocol, where the token of a connection stands.
const WORD = /^[\w!#$%&'*+.^`|~-]+$/;

/**
 * Asks the application by `ask`, the option `name`, and waits for `ms` at most. The promise rejects
 * with `failed(text, cause)` if the application fails or takes longer.
 */
export function within(ask, name, timers, ms, failed) {
  return new Promise((resolve, reject) => {
    const timer = timers.later(() => reject(failed(`${name} took too long`)), ms);
    new Promise((run) => { run(ask()); })
      .then(resolve, (error) => reject(failed(`${name} failed: ${error?.message ?? error}`, error)))
      .finally(() => timers.clear(timer));
  });
}

/**
 * Asks the application for a token. Resolves to null if there is to be none, and rejects with
 * `no_token` if the application failed or took longer than `ms`.
 */
export function askToken(getToken, about, timers, ms) {
  const failed = (text, cause) =>
    Object.assign(new StentorError('no_token', text), cause && { cause });
  return within(() => getToken(about), 'getToken', timers, ms, failed).then((token) => {
    if (token === null || (typeof token === 'string' && WORD.test(token))) return token;
    throw failed('getToken brought neither a token nor null');
  });
}

/**
 * Replaces a token that ends soon: asks for another one with a pause after each failure, until one
 * is taken or `isCurrent` is over. `act` has `ask()`, `take(token)`, `giveUp()`, `failed(error)`
 * and `later(tries, run)`.
 */
export function renew(isCurrent, act) {
  let tries = 0;
  const attempt = () => act.ask().then((token) => {
    if (!isCurrent()) return undefined;
    return token === null ? act.giveUp() : act.take(token);
  }).catch((error) => {
    if (!isCurrent()) return;
    act.failed(error);
    tries += 1;
    if (isCurrent()) act.later(tries, attempt);
  });
  attempt();
}
