#!/usr/bin/env bash
# Written by keras_wrn, and written anew by the next export into this directory.
#
# bash ready.sh MODEL...: whether the server on this machine says AVAILABLE of every model. That it
# answers is not enough: a model may have failed to load, or be a later one that still loads. The
# server's image has neither curl nor wget.
for model in "$@"; do
    exec 3<>"/dev/tcp/127.0.0.1/${PORT:-8501}" || exit 1
    echo -en "GET /v1/models/$model HTTP/1.0\r\nConnection: close\r\n\r\n" >&3
    grep -q '"AVAILABLE"' <&3 || exit 1
    exec 3>&-
done
