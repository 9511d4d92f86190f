"""Where settings come from: lines of a file, layers over layers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toril.errors import InvalidOption
from toril.supervisor.config.layers import Layer, leaves, merge
from toril.supervisor.config.toml_file import read_toml

FILE = """\
# a comment
redis = "redis://localhost"   # another

[queues.images]
processor = "app:images"
rate_limit = { tokens = 200,
  per = "60s" } # not valid before TOML 1.1
"""

WHOLE = """\
# a comment
redis = "redis://localhost"

[queues."a.b"]
processor = "app:images"
env = [
  "HOME",   # [not a table]
  "LANG",
]
rate_limit = { tokens = 200, per = "60s" }
note = '''
[queues.fake]
'''
sandbox.level = "strict"

[queues.c.sandbox]
memory = "1GiB"
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("redis",), 2),
        (("queues", "a.b"), 4),
        (("queues", "a.b", "processor"), 5),
        (("queues", "a.b", "env"), 6),
        (("queues", "a.b", "rate_limit"), 10),
        (("queues", "a.b", "rate_limit", "per"), 10),
        (("queues", "a.b", "note"), 11),
        (("queues", "a.b", "sandbox", "level"), 14),
        (("queues", "c", "sandbox", "memory"), 17),
        (("queues", "c", "sandbox", "cpu"), 16),
        (("queues", "a.b", "missing"), 4),
    ],
)
def test_every_value_has_its_line(tmp_path, keys, line):
    path = tmp_path / "toril.toml"
    path.write_text(WHOLE)
    assert read_toml(path).where(keys) == f"{path}:{line}"


def test_a_fake_table_in_a_string_is_none(tmp_path):
    path = tmp_path / "toril.toml"
    path.write_text(WHOLE)
    assert ("queues", "fake") not in read_toml(path).lines


def test_pyproject_is_read_from_its_table(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\nname = "x"\n\n[tool.toril]\nprefix = "p"\n')
    found = read_toml(path)
    assert found.values == {"prefix": "p"}
    assert found.where(("prefix",)) == f"{path}:5"


@pytest.mark.parametrize(
    ("text", "said"), [(FILE, "is not TOML"), (None, "no configuration file"), (b"\xff", "read")]
)
def test_what_cannot_be_read_is_said(tmp_path, text, said):
    path = Path(tmp_path, "toril.toml")
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidOption, match=said):
        read_toml(path)


NAMES = st.sampled_from(["a", "b", "c"])
TABLES = st.recursive(
    st.dictionaries(NAMES, st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(NAMES, st.one_of(st.integers(0, 3), inner), max_size=3),
    max_leaves=8,
)


@given(st.lists(TABLES, min_size=1, max_size=4))
def test_the_last_layer_that_has_a_value_gives_it(tables):
    layers = [Layer(table, lambda _keys, n=n: str(n)) for n, table in enumerate(tables)]
    merged = merge(layers)
    for keys, value in leaves(merged.values):
        origin = merged.origin(keys)
        if origin is None:
            assert value == {}
            continue
        found = tables[int(origin)]
        for name in keys:
            found = found[name]
        assert found == value
        assert not any(_has_leaf(table, keys) for table in tables[int(origin) + 1 :])


def _has_leaf(table, keys):
    for name in keys:
        if not isinstance(table, dict) or name not in table:
            return False
        table = table[name]
    return True
