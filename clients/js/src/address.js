//! The address of the server: given once, or asked for before each attempt to connect.
import { StentorError } from './errors.js';
import { addressOf, without } from './options.js';
import { within } from './token.js';

export class Address {
  #opt;
  #ask = null;
  #url = null; // Null until the first answer.

  constructor(given, opt) {
    this.#opt = opt;
    if (typeof given === 'function') this.#ask = given;
    else this.#url = addressOf(given, opt);
  }

  get isAsked() { return this.#ask !== null; }
  get href() { return this.#url?.href ?? ''; }
  get channel() { return this.#url?.searchParams.get('channel') ?? null; }

  /** True unless own publications are not to come back. */
  get isEchoed() {
    const said = this.#url?.searchParams.get('echo') ?? `${this.#opt.echo}`;
    return !/^(?:false|0)$/.test(said);
  }

  /** Resolves once the address is known: to false if the application has none. */
  async ready(timers) {
    if (!this.#ask) return true;
    const failed = (text, cause) =>
      Object.assign(new StentorError('no_url', text), cause && { cause });
    const { connectTimeout } = this.#opt;
    return within(() => this.#ask(), 'url', timers, connectTimeout, failed).then((given) => {
      if (given === null) return false;
      try {
        this.#url = addressOf(given, this.#opt);
      } catch (error) {
        throw failed(`url brought no address: ${error.message}`, error);
      }
      return true;
    });
  }

  /** The address to dial: a member from the start could not recover its channel. */
  dialled(isKnown) {
    return (isKnown ? without(this.#url, 'channel') : this.#url).href;
  }
}
