"""The units that come with toril: what an installation consists of, and how it is written."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import toril
from tests.support.imports import ROOT
from toril.cli.main import main
from toril.cli.systemd_install import install
from toril.errors import InvalidOption
from toril.supervisor.service import units
from toril.supervisor.service.units import Target, command, files, unseen, version_in

SYSTEMD = ROOT / "systemd"
SYSTEM = "etc/systemd/system"


def written(target: Target) -> set[str]:
    base = target.config_home if target.is_user else target.root
    return {str(one.path.relative_to(base)) for one in files(target)}


@pytest.fixture
def old(tmp_path):
    return Target(version=252, root=tmp_path)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT", 252),
        ("systemd 257", 257),
        ("", None),
        ("busybox", None),
    ],
)
def test_version_is_read(said, version):
    assert version_in(said) == version


@pytest.mark.parametrize(("version", "has_drop_in"), [(None, False), (253, False), (254, True)])
@pytest.mark.parametrize("is_user", [False, True])
def test_the_drop_in_is_for_those_who_know_it(tmp_path, version, has_drop_in, is_user):
    target = Target(version, root=tmp_path, config_home=tmp_path, is_user=is_user)
    assert any(name.endswith("10-systemd-254.conf") for name in written(target)) == has_drop_in


def test_system_and_user_go_where_systemd_looks(tmp_path):
    assert written(Target(252, root=tmp_path)) == {
        f"{SYSTEM}/toril@.service",
        f"{SYSTEM}/toril.target",
        "etc/tmpfiles.d/toril.conf",
    }
    assert written(Target(252, config_home=tmp_path, is_user=True)) == {
        "systemd/user/toril@.service"
    }


def test_hardened_is_for_named_instances_or_for_all(tmp_path):
    some = written(Target(252, ("a", "b"), is_hardened=True, root=tmp_path))
    every = written(Target(252, is_hardened=True, root=tmp_path))
    assert {name for name in some if name.endswith("hardened.conf")} == {
        f"{SYSTEM}/toril@a.service.d/20-hardened.conf",
        f"{SYSTEM}/toril@b.service.d/20-hardened.conf",
    }
    assert f"{SYSTEM}/toril@.service.d/20-hardened.conf" in every


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "ö"])
def test_a_name_that_is_no_instance_is_refused(tmp_path, name):
    with pytest.raises(InvalidOption, match="NAME is"):
        files(Target(252, (name,), root=tmp_path))


def test_a_unit_differs_from_the_shipped_one_in_the_command_only(old):
    unit = next(one for one in files(old) if one.path.name == "toril@.service")
    shipped = (SYSTEMD / "toril@.service").read_text()
    changed = set(unit.text.splitlines()) - set(shipped.splitlines())
    assert changed == {f"ExecStart={command()} run --config /etc/toril/%i.toml"}


def test_the_command_is_this_very_toril(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert command() == f"{tmp_path}/python -P -m toril"
    (tmp_path / "toril").touch()
    assert command() == f"{tmp_path}/toril"


def test_a_command_with_odd_letters_is_one_word_and_no_specifier(tmp_path, monkeypatch):
    home = tmp_path / "100% of $it"
    home.mkdir()
    (home / "toril").touch()
    monkeypatch.setattr(sys, "executable", str(home / "python"))
    assert command() == f'"{tmp_path}/100%% of $$it/toril"'


def test_a_toril_that_services_cannot_see_is_not_installed(monkeypatch, capsys):
    """Otherwise the service would fail at every start, with a message about something else."""
    monkeypatch.setattr(sys, "prefix", "/run/user/1/env")
    assert "ProtectHome=" in unseen()[Path("/run/user/1/env")]
    assert install(Target(252), is_dry=True, as_json=False) == 78
    assert "nothing was written" in capsys.readouterr().err


def test_a_toril_that_others_may_not_read_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "_UNSEEN", ())
    closed = tmp_path / "closed"
    (closed / "toril").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(toril, "__file__", str(closed / "toril" / "__init__.py"))
    assert f"others may not read {closed}" in unseen()[closed / "toril"]


def test_files_are_written_once_and_then_left_alone(old, capsys):
    assert install(old, is_dry=False, as_json=False) == 0
    first = capsys.readouterr().out
    unit = old.directory / "toril@.service"
    stat = unit.stat()
    assert stat.st_mode & 0o777 == 0o644
    assert f"written   {unit}\n" in first
    assert install(old, is_dry=False, as_json=False) == 0
    again = capsys.readouterr().out
    assert f"unchanged {unit}\n" in again
    assert "try-restart" not in again
    assert unit.stat().st_ino == stat.st_ino
    assert sorted(path.name for path in old.directory.iterdir()) == [
        "toril.target",
        "toril@.service",
    ]


def test_an_upgrade_says_what_it_changed_and_to_restart(old, capsys):
    install(old, is_dry=False, as_json=True)
    unit = old.directory / "toril@.service"
    unit.write_text("[Service]\n")
    capsys.readouterr()
    install(old, is_dry=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert {"path": str(unit), "done": "updated"} in told["files"]
    assert any("try-restart 'toril@*'" in step for step in told["next"])
    assert "Type=notify" in unit.read_text()


def test_a_downgrade_of_systemd_removes_what_it_does_not_know(tmp_path, capsys):
    new = Target(254, root=tmp_path)
    install(new, is_dry=False, as_json=True)
    drop_in = new.directory / "toril@.service.d" / "10-systemd-254.conf"
    assert drop_in.exists()
    install(Target(252, root=tmp_path), is_dry=False, as_json=False)
    assert not drop_in.exists()
    assert f"removed   {drop_in}" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(old, capsys):
    assert install(old, is_dry=True, as_json=False) == 0
    assert list(old.root.iterdir()) == []
    assert "would be written" in capsys.readouterr().out


def test_where_nothing_can_be_written_it_says_so(tmp_path, capsys):
    (tmp_path / "etc").write_text("no directory")
    assert install(Target(252, root=tmp_path), is_dry=False, as_json=False) == 73
    assert "be root, or use --user" in capsys.readouterr().err


def test_what_comes_next_names_the_instances_and_their_configurations(tmp_path, capsys):
    (tmp_path / "etc/toril").mkdir(parents=True)
    (tmp_path / "etc/toril/there.toml").touch()
    assert main(["systemd", "install", "--root", str(tmp_path), "there", "gone"]) == 0
    told = capsys.readouterr().out
    assert f"enable --now toril@there    # works {tmp_path}/etc/toril/there.toml\n" in told
    assert "gone.toml (not there yet)" in told


def test_a_users_units_go_below_their_configuration(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main(["systemd", "install", "--user", "images"]) == 0
    assert (tmp_path / "systemd/user/toril@.service").exists()
    assert "systemctl --user enable --now toril@images" in capsys.readouterr().out


def test_every_directive_has_its_reason_in_the_readme():
    reasons = (SYSTEMD / "README.md").read_text()
    named = set(re.findall(r"`([A-Z]\w+)=", reasons))
    used = set()
    for path in SYSTEMD.rglob("*"):
        if path.suffix in {".service", ".conf", ".target"}:
            used |= set(re.findall(r"^([A-Z]\w+)=", path.read_text(), re.MULTILINE))
    assert used - named == {"Description"}
    assert named - used == set()
