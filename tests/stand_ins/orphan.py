"""Leaves a daemon behind (double fork, own session, TERM ignored), writes its pid down, and fails."""

import os
import signal
import time

reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.write(writing, str(os.getpid()).encode())
        os.close(writing)
        time.sleep(3600)
    os._exit(0)
print("daemon", os.read(reading, 32).decode(), flush=True)
raise SystemExit("gone")
