"""docs/configuration.md says what the schema says."""

from __future__ import annotations

from pathlib import Path

from toril.supervisor.config.shown import rendered

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_table_of_settings_is_the_schemas():
    """Write `toril.supervisor.config.shown.rendered()` into the page when this fails."""
    assert PAGE.read_text(encoding="utf-8").endswith("## All settings\n\n" + rendered())
