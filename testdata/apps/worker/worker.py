"""Works in the background: a line a second, and a last one when it is told to stop."""

import itertools
import signal
import sys
import threading

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
for job in itertools.count(1):
    print("worker: job %d done" % job, flush=True)
    if stop.wait(1):
        print("worker: stopping", flush=True)
        sys.exit(0)
