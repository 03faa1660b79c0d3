"""Tokens: what a user is allowed, signed by the application."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Tokens:
    """Signs tokens with a key.

    `key` is the secret of `--token-hmac-secret-file` for HS256, HS384 and HS512, less the line break
    at its end. Any other algorithm takes a private key in PEM and needs the extra `jwt`.
    """

    def __init__(
        self,
        key: str | bytes,
        algorithm: str = "HS256",
        *,
        issuer: str | None = None,
        audience: str | None = None,
        expires_in: float | None = 3600,
        key_id: str | None = None,
    ) -> None:
        self._key = key.encode() if isinstance(key, str) else key
        if not self._key:
            raise ValueError("the key is empty")
        self._algorithm = algorithm
        self._expires_in = expires_in
        self._head = {"alg": algorithm, "typ": "JWT"} | ({"kid": key_id} if key_id else {})
        self._always = {
            name: value for name, value in (("iss", issuer), ("aud", audience)) if value is not None
        }
        if algorithm not in _HASHES:
            _jwt()  # Said at the start, and not with the first user.

    def connection(
        self,
        user: str = "",
        *,
        expires_in: float | None = None,
        channels: Sequence[str] | None = None,
        subs: Mapping[str, Any] | None = None,
        caps: Sequence[Mapping[str, Any]] | None = None,
        info: Any = None,
        meta: Any = None,
        token_id: str | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Returns a token with which a client connects; without a user, as nobody in particular.

        `channels`, or `subs` with more about each, are joined from the start. `claims` are further
        ones, and win over these.
        """
        return self._signed(
            {
                "sub": user,
                "channels": list(channels) if channels is not None else None,
                "subs": dict(subs) if subs is not None else None,
                "caps": list(caps) if caps is not None else None,
                "info": info,
                "meta": meta,
                "jti": token_id,
            },
            expires_in,
            claims,
        )

    def subscription(
        self,
        channel: str,
        user: str = "",
        *,
        client: str | None = None,
        expires_in: float | None = None,
        info: Any = None,
        token_id: str | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> str:
        """Returns a token with which a client of this user joins one channel."""
        return self._signed(
            {"sub": user, "channel": channel, "client": client, "info": info, "jti": token_id},
            expires_in,
            claims,
        )

    def _signed(
        self,
        fields: Mapping[str, Any],
        expires_in: float | None,
        claims: Mapping[str, Any] | None,
    ) -> str:
        now = int(time.time())
        seconds = self._expires_in if expires_in is None else expires_in
        payload: dict[str, Any] = {"iat": now, **self._always}
        if seconds is not None:
            payload["exp"] = int(now + seconds)
        payload |= {name: value for name, value in fields.items() if value is not None}
        payload |= claims or {}
        if self._algorithm not in _HASHES:
            headers = {name: value for name, value in self._head.items() if name == "kid"}
            signed = _jwt().encode(payload, self._key, self._algorithm, headers or None)
            return str(signed)
        parts = [
            _encoded(json.dumps(part, allow_nan=False, separators=(",", ":")).encode())
            for part in (self._head, payload)
        ]
        text = ".".join(parts)
        signature = hmac.new(self._key, text.encode(), _HASHES[self._algorithm]).digest()
        return f"{text}.{_encoded(signature)}"


def _jwt() -> Any:
    try:
        import jwt
    except ImportError:
        raise ImportError(
            "private keys need PyJWT with cryptography: pip install 'stentor-server[jwt]'"
        ) from None
    return jwt
