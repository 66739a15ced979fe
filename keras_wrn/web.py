"""Requests that end in time and in room, whatever the server does."""

import queue
import threading
import time

LATE = "no whole answer in {:g} s"


def ask(method, url, seconds, limit, session=None, **settings):
    """Return the answer of a request over HTTP, and its body.

    Args:
        method, url, settings: as for `requests.request`.
        seconds: float, in which all of the answer has to be there.
        limit: int, the largest number of bytes of a body.
        session: `requests.Session`, None for one of its own.

    Returns:
        `requests.Response`, which is closed, and bytearray.

    Raises:
        OSError: no whole answer, with the innermost reason.
    """
    import requests
    from urllib3.exceptions import HTTPError

    end = time.monotonic() + seconds

    def whole():
        arguments = {**settings, "timeout": seconds, "stream": True}
        with (session or requests).request(method, url, **arguments) as answer:
            body = bytearray()
            while part := answer.raw.read1(2**20, decode_content=True):
                body += part
                if len(body) > limit:
                    raise OSError(f"an answer of more than {limit:,} bytes")
                if time.monotonic() > end:
                    raise TimeoutError(LATE.format(seconds))  # who asked has gone
        return answer, body

    try:
        return within(seconds, whole)
    except (requests.RequestException, HTTPError) as error:
        raise OSError(str(_innermost(error))) from error


def within(seconds, function, *args, **kwargs):
    """Return what a function returns, or raise what it raises, if it ends in so many seconds.

    Timeouts of sockets are for each read: a server of a byte a second would never meet one.

    Raises:
        TimeoutError: it goes on, in a thread that does not keep the process alive.
    """
    outcomes: queue.SimpleQueue = queue.SimpleQueue()

    def call():
        try:
            outcomes.put((function(*args, **kwargs), None))
        except Exception as error:  # whatever it is, who waits raises it
            outcomes.put((None, error))

    threading.Thread(target=call, daemon=True).start()
    try:
        result, error = outcomes.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(LATE.format(seconds)) from None
    if error is not None:
        raise error
    return result


def _innermost(error):
    """The innermost of the errors that requests and urllib3 wrap in one another."""
    while True:
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        if not isinstance(inner, Exception):
            return error
        error = inner
