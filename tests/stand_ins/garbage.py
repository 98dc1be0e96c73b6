"""Writes garbage into the referee's socket."""

import os
import time

os.write(int(os.environ["AUTORESEARCH_CHANNEL"]), b"\xff" * 100)
time.sleep(3600)
