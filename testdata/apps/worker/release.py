"""Runs once for a release, before its instances start."""

import os

print("release: preparing %s" % os.environ.get("MICRO_RELEASE", "local"), flush=True)
