#!/usr/bin/env bash
# Written by keras_wrn, and written anew by the next export into this directory.
#
# bash smoke.sh: start the server with Docker, ask every model ten times, stop the server.
set -euo pipefail
cd "$(dirname "$0")"
if [ -n "$(docker compose ps --quiet)" ]; then
    echo "A server of this directory runs already; stop it first: docker compose down" >&2
    exit 1
fi
trap 'docker compose down' EXIT
docker compose up --detach --wait --wait-timeout 600
for model in %models; do
    [ -f "requests/$model.json" ] || continue
    for request in {1..10}; do
        answer=$(curl --fail --silent --show-error --data "@requests/$model.json" \
            "http://localhost:${PORT:-8501}/v1/models/$model:predict" | tr -d ' \n')
        if [[ $answer != *'"outputs":'* || $answer == *'"valid":[false'* ]]; then
            echo "$model, request $request: $answer" >&2
            exit 1
        fi
    done
    echo "$model: ten answers"
done
