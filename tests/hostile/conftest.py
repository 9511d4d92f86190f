"""Of the hostile suite: with several workers, the cases of one arena go to one of them."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Keep groups together (`xdist_group`), or each worker would run every arena for itself."""
    if config.getoption("numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadgroup"
