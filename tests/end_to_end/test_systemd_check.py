"""`toril systemd check` with the systemd-analyze of this machine: exposure, faults, exit codes."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.required import skip_or_fail
from toril.cli.main import main


@pytest.fixture(autouse=True)
def _systemd_analyze():
    if shutil.which("systemd-analyze") is None:
        skip_or_fail("systemd", "systemd-analyze is not installed")


def judged(capsys, *words: str) -> tuple[int, list[dict]]:
    capsys.readouterr()
    code = main(["systemd", "check", "--json", *words])
    return code, json.loads(capsys.readouterr().out)["units"]


def test_both_flavours_stay_below_their_bounds(tmp_path, capsys):
    code, (plain, hardened) = judged(capsys, "--root", str(tmp_path))
    assert (plain["faults"], hardened["faults"]) == ([], [])
    assert not plain["is_installed"]
    assert not plain["is_hardened"]
    assert hardened["is_hardened"]
    assert plain["exposure"] <= 2.7
    assert hardened["exposure"] <= 1.7
    assert code == 0


def test_a_users_units_are_verified(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    code, (unit,) = judged(capsys, "--user")
    assert unit["faults"] == []
    assert unit["exposure"] is None
    assert code == 0


def test_what_is_installed_is_judged_with_what_was_changed_about_it(tmp_path, capsys):
    root = ("--root", str(tmp_path))
    main(["systemd", "install", "--hardened", *root, "narrow"])
    directory = tmp_path / "etc/systemd/system"
    (directory / "toril@bent.service.d").mkdir()
    bent = directory / "toril@bent.service.d" / "override.conf"
    bent.write_text("[Service]\nProtectSystm=no\nDynamicUser=no\nCapabilityBoundingSet=~\n")

    code, (narrow, other, bent) = judged(capsys, *root, "narrow", "other", "bent")

    assert all(unit["is_installed"] for unit in (narrow, other, bent))
    assert (narrow["is_hardened"], other["is_hardened"]) == (True, False)
    assert narrow["is_well"]
    assert other["is_well"]
    assert not bent["is_well"]
    assert bent["exposure"] > 2.7
    assert ["ProtectSystm" in fault for fault in bent["faults"]] == [True]
    assert code == 78


def test_people_are_told_too(tmp_path, capsys):
    assert main(["systemd", "check", "--root", str(tmp_path), "images"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("ok  toril@images.service (not installed; as install would write it)\n")
    assert "exposure 2." in told


def test_without_its_tools_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["systemd", "check"]) == 69
    assert "systemd-analyze was not found" in capsys.readouterr().err
