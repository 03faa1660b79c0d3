//! Failures of requests, by a code that programs can read.

export class StentorError extends Error {
  constructor(code, text) {
    super(text);
    this.name = 'StentorError';
    this.code = code;
  }
}

export const ignore = () => {};

// A failure that nobody awaits must not end a Node process.
export const quiet = (promise) => (promise.catch(ignore), promise);
export const lost = (code, reason) => new StentorError('lost',
  `the connection ended (${`${code} ${reason}`.trim()}) before the answer came`);
export const disconnected = () => new StentorError('disconnected', 'the client is disconnected');
