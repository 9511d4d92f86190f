"""What the package's modules import, read from their syntax trees; nothing is executed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "toril"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module.

    Attributes:
        module: its full name; for `from a import b` with b a module, `a.b`.
        at_start: it happens when the importing module is imported, not inside a function.
        typing_only: it stands under `if TYPE_CHECKING`.
    """

    module: str
    at_start: bool
    typing_only: bool


@cache
def sources() -> dict[str, Path]:
    """Module name → file, of every module of the package."""
    return {_name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(name: str, path: Path) -> list[Import]:
    """Every import statement of a module, `TYPE_CHECKING` blocks and functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return list(_walk(tree, package, at_start=True, typing_only=False))


def closure(roots: list[str]) -> set[str]:
    """Every module that importing `roots` loads directly or through our own modules.

    Packages on the way are loaded too: `toril.sandbox.child` loads `toril` and `toril.sandbox`.
    """
    files = sources()
    found: set[str] = set()
    wanted = [parent for root in roots for parent in _with_parents(root)]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        if name in files:
            for one in imports_of(name, files[name]):
                if one.at_start and not one.typing_only:
                    wanted.extend(_with_parents(one.module))
    return found


def _name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _walk(node: ast.AST, package: str, *, at_start: bool, typing_only: bool) -> Iterator[Import]:
    match node:
        case ast.Import():
            for alias in node.names:
                yield Import(alias.name, at_start, typing_only)
        case ast.ImportFrom():
            for module in _from(node, package):
                yield Import(module, at_start, typing_only)
        case ast.If() if ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for child in node.body:
                yield from _walk(child, package, at_start=at_start, typing_only=True)
            for child in node.orelse:
                yield from _walk(child, package, at_start=at_start, typing_only=typing_only)
        case _:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for child in ast.iter_child_nodes(node):
                yield from _walk(
                    child, package, at_start=at_start and not inside, typing_only=typing_only
                )


def _from(node: ast.ImportFrom, package: str) -> Iterator[str]:
    base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
    module = ".".join([*base, node.module] if node.module else base)
    for alias in node.names:
        submodule = f"{module}.{alias.name}"
        yield submodule if submodule in sources() else module
