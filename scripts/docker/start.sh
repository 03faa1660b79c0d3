#!/bin/bash
# The image's first process: becomes the server. With a key for the API, the admin address can be
# reached from outside the container; without one only from inside, unless STENTOR_ADMIN says more.
if [ -z "${STENTOR_ADMIN+set}" ] && [ -n "${STENTOR_API_KEY:-}${STENTOR_API_KEY_FILE:-}" ]; then
  export STENTOR_ADMIN=0.0.0.0:9002
fi
exec "${STENTOR:-/usr/bin/stentor}" "$@"
