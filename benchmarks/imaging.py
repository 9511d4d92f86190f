"""A processor that has imported what heavy processors import."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
from PIL import Image


def touch(job: Any) -> int:
    """Use both a little, and collect garbage as a job of some length does."""
    del job
    image = Image.fromarray(np.zeros((64, 64), dtype=np.uint8))
    gc.collect()
    return image.width
