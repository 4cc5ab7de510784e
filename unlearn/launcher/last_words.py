"""Reads the stderr of a process of several, and passes it on.

    python last_words.py PROGRAM

When another process has died, compiled code says so at length and ends this one: of
that one line is left.
"""

import re
import signal
import sys

ENDED = (
    "another process of this run has ended (it says why): the same command on all of "
    "them continues"
)
LOG = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d|\[Gloo\]|:UNKNOWN:|Additional GRPC")
LINE = re.compile(r"\[[\w./+-]+\.(cc|h):\d+\] ")  # gloo's own log: nothing follows it


def main(program: str) -> None:
    """Passes lines of standard input on to stderr, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ending = logged = False
    for line in sys.stdin.buffer:
        text = line.decode(errors="backslashreplace")
        if LOG.match(text):
            logged = True
            if text.startswith("F") and not ending:
                ending = True
                print(f"{program}: {ENDED}", file=sys.stderr, flush=True)
            continue
        if LINE.match(text):
            continue
        if text.startswith(f"{program}: "):
            logged = ending = False
        if not (ending or logged):
            print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
