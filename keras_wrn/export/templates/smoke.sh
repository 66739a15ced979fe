#!/usr/bin/env bash
# Written by keras_wrn, and written anew by the next export into this directory.
#
# bash smoke.sh: start the server with Docker, ask every model ten times, stop the server.
set -euo pipefail
cd "$(dirname "$0")"
docker compose up --detach --wait --wait-timeout 180
trap 'docker compose down' EXIT
for model in %models; do
    for request in {1..10}; do
        answer=$(curl --fail --silent --show-error --data "@requests/$model.json" \
            "http://localhost:${PORT:-8501}/v1/models/$model:predict")
        if grep -q false <<<"$answer" || ! grep -q '"outputs"' <<<"$answer"; then
            echo "$model, request $request: $answer" >&2
            exit 1
        fi
    done
    echo "$model: ten answers"
done
