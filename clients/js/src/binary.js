//! Binary bodies: bytes here, a string in base64 on the wire.

const BUFFER = /^\[object (?:Shared)?ArrayBuffer\]$/;
const PART = 0x8000; // A call takes only so many arguments.

const bytesOf = (body) => {
  if (ArrayBuffer.isView(body)) {
    return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  }
  return BUFFER.test(Object.prototype.toString.call(body)) ? new Uint8Array(body) : null;
};

/** The fields of a request that carry a body. */
export function carried(body) {
  const bytes = bytesOf(body);
  if (!bytes) return { body };
  let text = '';
  for (let at = 0; at < bytes.length; at += PART) {
    text += String.fromCharCode(...bytes.subarray(at, at + PART));
  }
  return { encoding: 'base64', body: btoa(text) };
}

/** A publication as the server sends it, with bytes where its body is binary. */
export function unpacked(publication) {
  if (publication.encoding !== 'base64') return publication;
  const { encoding, ...others } = publication;
  return { ...others, body: Uint8Array.from(atob(others.body), (c) => c.charCodeAt(0)) };
}
