"""Processors that use real libraries as their documentation shows it."""

from __future__ import annotations

import io
import lzma
import multiprocessing
import shutil
import sqlite3
import ssl
import subprocess
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont


def matrices(job):
    """BLAS, LAPACK and the random generator."""
    random = np.random.default_rng(7)
    one = random.standard_normal((200, 200))
    other = one @ np.linalg.inv(one)
    np.savez(Path("kept.npz"), other=other)
    with np.load("kept.npz") as kept:
        return bool(np.allclose(kept["other"], np.eye(200)))


def images(job):
    """Drawn, filtered, written in each format and read again."""
    image = Image.new("RGB", (120, 80), "navy")
    ImageDraw.Draw(image).text((10, 10), "toril", fill="white", font=ImageFont.load_default())
    small = image.filter(ImageFilter.GaussianBlur(1)).resize((60, 40))
    sizes = []
    for kind in ("png", "jpeg", "webp", "gif"):
        small.save(f"small.{kind}")
        with Image.open(f"small.{kind}") as again:
            again.load()
            sizes.append(again.size)
    return sizes


def database(job):
    """A database in a file, with its journals."""
    with sqlite3.connect("herd.db") as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE bulls (name TEXT)")
        db.executemany("INSERT INTO bulls VALUES (?)", [(str(n),) for n in range(500)])
        (count,) = db.execute("SELECT COUNT(*) FROM bulls").fetchone()
    return count


def archives(job):
    """Compression, archives and temporary files."""
    data = b"bull" * 50_000
    packed = lzma.compress(data)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(f"{folder}/a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", packed)
        shutil.unpack_archive(f"{folder}/a.zip", folder)
        return lzma.decompress(Path(f"{folder}/a").read_bytes()) == data


def threads(job):
    """A pool of threads, as far as it goes in one process."""
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(lambda n: n * n, range(100)))


def certificates(job):
    """What a TLS client loads before it connects."""
    return ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED


def memory_only(job):
    """An image that never sees a file."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((10, 10, 3), "uint8")).save(buffer, "png")
    return len(buffer.getvalue()) > 60


def start_a_program(job):
    """Refused, clearly."""
    return subprocess.run(["/bin/true"], check=True).returncode


def start_a_pool(job):
    """Refused, clearly."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(abs, [-1]))


def start_a_process(job):
    """Refused, clearly."""
    process = multiprocessing.get_context("fork").Process(target=abs, args=(-1,))
    process.start()
    process.join()


def spawn_a_process(job):
    """Refused, clearly."""
    process = multiprocessing.get_context("spawn").Process(target=abs, args=(-1,))
    process.start()
    process.join()


def tensors(job):
    """torch on the CPU: gradients, and its own threads."""
    import torch  # noqa: PLC0415 - most machines have none

    x = torch.ones(64, 64, requires_grad=True)
    (x @ x).sum().backward()
    return float(x.grad[0, 0])


processors = {
    name: value
    for name, value in globals().items()
    if callable(value) and getattr(value, "__module__", "") == __name__
}
