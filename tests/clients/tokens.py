"""Makes keys of each kind with `cryptography`, and a token for each algorithm with PyJWT: tokens.py FOLDER.

The folder gets `secret`, `public.pem` and `jwks.json`; the tokens are printed as JSON, by algorithm."""
import json
import pathlib
import secrets
import sys
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

folder = pathlib.Path(sys.argv[1])
secret = secrets.token_urlsafe(64)
(folder / "secret").write_text(secret + "\n")
rsa_key = rsa.generate_private_key(65537, 2048)
keys = {
    "RS256": (rsa_key, RSAAlgorithm),
    "RS384": (rsa_key, RSAAlgorithm),
    "RS512": (rsa_key, RSAAlgorithm),
    "ES256": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "ES384": (ec.generate_private_key(ec.SECP384R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm),
}
claims = {"sub": "ana", "iat": int(time.time()), "exp": int(time.time()) + 3600}
tokens = {name: jwt.encode(claims, secret, name) for name in ("HS256", "HS384", "HS512")}
public, jwks = {}, {}
for name, (key, kind) in keys.items():
    kid = "rsa" if key is rsa_key else name
    tokens[name] = jwt.encode(claims, key, name, headers={"kid": kid})
    public[kid] = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    jwk = kind.to_jwk(key.public_key(), as_dict=True)
    jwks[kid] = {**{part: jwk[part] for part in jwk if part != "key_ops"}, "kid": kid, "use": "sig"}
(folder / "public.pem").write_bytes(b"".join(public.values()))
(folder / "jwks.json").write_text(json.dumps({"keys": list(jwks.values())}))
tokens["none"] = jwt.encode(claims, None, "none")
print(json.dumps(tokens))
