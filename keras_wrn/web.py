"""Requests with limits on time and size, whatever the server does."""

import queue
import threading
import time

LATE = "no whole answer in {:g} s"


def ask(method, url, seconds, limit, session=None, **settings):
    """Send an HTTP request, and return the response and its body.

    Args:
        method, url, settings: as for `requests.request`.
        seconds: float, the time limit for the whole response.
        limit: int, the most bytes a body may have.
        session: `requests.Session`, None for a new one.

    Returns:
        A closed `requests.Response`, and a bytearray.

    Raises:
        OSError: no complete response; the message has the innermost reason.
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
                    raise TimeoutError(LATE.format(seconds))  # the caller has gone
        return answer, body

    try:
        return within(seconds, whole)
    except (requests.RequestException, HTTPError) as error:
        raise OSError(str(_innermost(error))) from error


def within(seconds, function, *args, **kwargs):
    """Return what a function returns, or raise what it raises, if it ends within `seconds`.

    Socket timeouts apply to each read: a server that sends a byte a second would never hit one.

    Raises:
        TimeoutError: it is still running, in a thread that does not keep the process alive.
    """
    outcomes: queue.SimpleQueue = queue.SimpleQueue()

    def call():
        try:
            outcomes.put((function(*args, **kwargs), None))
        except Exception as error:  # whatever it is, the caller raises it
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
