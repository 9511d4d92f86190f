"""What of a source tree a walled child may read: pure, on directories made for it."""

from __future__ import annotations

import sys

import pytest

from toril.errors import InvalidOption, SandboxUnavailable
from toril.sandbox import landlock, readable
from toril.sandbox.allow import Allow


def plant(root, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def found(root, processor: str = "app:run") -> dict[str, int]:
    """Path below `root` → rights."""
    tree = readable.defaults([str(root)], processor)
    start = str(root)
    return {
        path.removeprefix(start).lstrip("/"): rights
        for path, rights in tree.paths.items()
        if path == start or path.startswith(start + "/")
    }


def readable_files(root, processor: str = "app:run") -> set[str]:
    return {path for path, rights in found(root, processor).items() if rights & landlock.READ_FILE}


def test_modules_and_packages_are_readable_and_what_lies_beside_them_is_not(tmp_path):
    plant(tmp_path, "app/__init__.py", "app/x/data.bin", "tools.py", "fast.so", ".env")
    plant(tmp_path, "toril.toml", "secrets.json", "config.yaml", "data/a.csv", ".git/config")

    assert readable_files(tmp_path) == {"app", "tools.py", "fast.so"}


def test_the_directory_itself_can_be_listed_and_not_read(tmp_path):
    plant(tmp_path, "app/__init__.py")

    assert found(tmp_path)[""] == landlock.READ_DIR


@pytest.mark.parametrize(
    "secret",
    [".env", ".env.local", "prod.env", "server.key", "ca.pem", "id_rsa", "credentials.json"],
)
def test_a_package_that_holds_a_secret_is_taken_apart(tmp_path, secret):
    plant(tmp_path, "app/__init__.py", "app/a.py", "app/clean/b.py", f"app/{secret}")

    assert readable_files(tmp_path) == {"app/__init__.py", "app/a.py", "app/clean"}


def test_a_secret_deep_down_takes_only_its_own_line_apart(tmp_path):
    plant(tmp_path, "app/__init__.py", "app/a/x.py", "app/b/c/y.py", "app/b/c/.netrc", "app/b/d/z")

    assert readable_files(tmp_path) == {"app/__init__.py", "app/a", "app/b/c/y.py", "app/b/d"}


def test_harmless_hidden_files_take_nothing_apart(tmp_path):
    plant(tmp_path, "app/__init__.py", "app/.gitignore", "app/x/.gitkeep", "app/secrets.py")

    assert readable_files(tmp_path) == {"app"}


def test_the_processors_package_is_source_without_a_module_of_its_own(tmp_path):
    plant(tmp_path, "company/product/work.py", "other/product/work.py")

    assert readable_files(tmp_path, "company.product.work:run") == {"company"}


def test_other_peoples_dependencies_are_not_source(tmp_path):
    plant(tmp_path, "app/__init__.py", "app/node_modules/x/y.js")

    assert readable_files(tmp_path) == {"app/__init__.py"}


def test_a_link_out_of_a_package_is_followed_unless_it_leads_to_a_secret(tmp_path):
    plant(tmp_path, "root/app/__init__.py", "else/lib.py", "else/sub/m.py", "else/key.pem")
    app = tmp_path / "root" / "app"
    for name, target in (("lib.py", "lib.py"), ("sub", "sub"), ("harmless.txt", "key.pem")):
        (app / name).symlink_to(tmp_path / "else" / target)
    (app / "loop").symlink_to(app)

    tree = readable.defaults([str(tmp_path / "root")], "app:run")

    inside = {path for path in tree.paths if path.startswith(str(tmp_path / "else"))}
    assert inside == {str(tmp_path / "else" / "lib.py"), str(tmp_path / "else" / "sub")}


def test_libraries_are_readable_as_a_whole_and_programs_only_with_exec():
    tree = readable.defaults([], "app:run")
    assert any(sys.prefix + "/lib" == path for path in tree.paths)
    assert not any(path.endswith("/bin") for path in tree.paths)
    assert not any(rights & landlock.EXECUTE for rights in tree.paths.values())
    assert "/etc" not in tree.paths
    assert "/proc" not in tree.paths

    allowed = readable.with_allowed(tree, Allow(exec=True)).paths
    assert any(path.endswith("/bin") for path in allowed)
    assert all(rights & landlock.EXECUTE for rights in allowed.values())


def test_allowed_paths_have_their_rights_and_nothing_is_writable_else(tmp_path):
    plant(tmp_path, "in/a", "out/b")
    allow = Allow(read=(str(tmp_path / "in"),), write=(str(tmp_path / "out"),))
    paths = readable.with_allowed(readable.defaults([], "app:run"), allow).paths

    assert paths[str(tmp_path / "in")] == landlock.READ
    assert paths[str(tmp_path / "out")] == landlock.WRITE
    writable = {path for path, rights in paths.items() if rights & landlock.WRITE_FILE}
    assert writable == {str(tmp_path / "out"), "/dev/null", "/dev/full"}


@pytest.mark.parametrize("name", ["read", "write"])
def test_an_allowed_path_that_is_not_there_is_refused_by_name(tmp_path, name):
    allow = Allow(**{name: (str(tmp_path / "gone"),)})
    with pytest.raises(SandboxUnavailable, match=f"allow.{name} names .*gone, which is not there"):
        readable.with_allowed(readable.Tree(), allow)


def test_more_rules_than_a_fork_should_pay_for_are_refused_with_the_remedy(tmp_path):
    plant(tmp_path, "app/.env", *(f"app/m{number}.py" for number in range(650)))
    plant(tmp_path, "tools/.env", "tools/a.py", "tools/b.py")
    tree = readable.defaults([str(tmp_path)], "app:run")
    words = rf"limit 600.*most in {tmp_path}/app \(650\), .*--allow-read"
    with pytest.raises(SandboxUnavailable, match=words):
        readable.with_allowed(tree, Allow())

    whole = readable.with_allowed(tree, Allow(read=(str(tmp_path / "app"),)))
    assert [path for path in whole.paths if path.startswith(f"{tmp_path}/app/")] == []


def test_what_a_link_leads_to_is_covered_only_where_it_lies(tmp_path):
    plant(tmp_path, "in/a", "elsewhere/b")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere" / "b")
    allow = Allow(read=(str(tmp_path / "in"), str(tmp_path / "in/a"), str(tmp_path / "in/link")))

    paths = readable.with_allowed(readable.Tree(), allow).paths
    assert set(paths) == {str(tmp_path / "in"), str(tmp_path / "in" / "link")}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"read": ("data",)}, "read names 'data'; expected an absolute path"),
        ({"write": ("/a\0b",)}, "write names"),
        ({"network": ("udp",)}, "network names 'udp'; expected one of tcp"),
        ({"tmp_size_bytes": 0}, "tmp_size_bytes is 0; expected more than 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields, words):
    with pytest.raises(InvalidOption, match=words):
        Allow(**fields)


def test_what_is_allowed_crosses_to_the_zygote_unchanged():
    allow = Allow(("/a",), ("/b",), ("tcp",), True, ("HOME",), ("other",), 5)
    assert Allow.from_message(allow.as_message()) == allow


def test_a_hidden_file_is_left_out_whatever_its_name(tmp_path):
    plant(tmp_path, "app/__init__.py", "app/a.py", "app/worker.ini", "app/b/worker.ini", "w.py")
    (tmp_path / "app" / "link.ini").symlink_to(tmp_path / "app" / "worker.ini")
    hidden = [str(tmp_path / "app" / "worker.ini"), str(tmp_path / "w.py")]
    tree = readable.with_allowed(readable.defaults([str(tmp_path)], "app:run", hidden), Allow())

    start = f"{tmp_path}/"
    files = {
        path.removeprefix(start)
        for path, rights in tree.paths.items()
        if path.startswith(start) and rights & landlock.READ_FILE
    }
    assert files == {"app/__init__.py", "app/a.py", "app/b"}


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_hidden_file_below_what_is_allowed_is_refused(tmp_path, kind):
    plant(tmp_path, "data/deep/worker.ini")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    hidden = str(tmp_path / "data" / "deep" / "worker.ini")

    allow = Allow(**{kind: (str(tmp_path / "link"),)})
    with pytest.raises(SandboxUnavailable, match=r"worker\.ini.*only the supervisor.*link"):
        readable.with_allowed(readable.Tree(), allow, [hidden])
