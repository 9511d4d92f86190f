"""Adds no-op jobs with a peer's own producer. Arguments: module jobs.

A program of its own, because some name a task after the module that defines it.
"""

from __future__ import annotations

import importlib
import sys

importlib.import_module(sys.argv[1]).add(int(sys.argv[2]))
