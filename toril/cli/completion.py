"""`toril completion bash|zsh|fish`: the command line's own table of words, as a shell reads it.

Made from the parser when it is asked for, so that it cannot say anything else than `--help`; a
library for it would be a dependency for sixty lines. Words are ours alone: nothing of a server, a
file or the environment gets into a script that a shell runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toril.cli.verbs import parser

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere in the command line.

    Attributes:
        path: the verbs that lead there, `jobs list`; empty at the start.
        words: verbs, actions and flags that may follow, each with its help.
    """

    path: str
    words: dict[str, str]


def main(options: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write(_SHELLS[options.shell](list(places(parser()))))
    return os.EX_OK


def places(of: argparse.ArgumentParser, path: str = "") -> Iterator[Place]:
    """This place, and all that it leads to."""
    words: dict[str, str] = {}
    below: dict[str, argparse.ArgumentParser] = {}
    for action in of._actions:  # noqa: SLF001 - argparse tells it nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no public name
            below = dict(action.choices)
            words |= {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001
        elif action.option_strings:
            words[action.option_strings[-1]] = action.help or ""
        elif action.choices:
            words |= dict.fromkeys(action.choices, action.help or "")
    yield Place(path, words)
    for name, parser_ in below.items():
        yield from places(parser_, f"{path} {name}".strip())


def _bash(found: list[Place]) -> str:
    rows = (f'    "{one.path}") offered="{" ".join(one.words)}" ;;\n' for one in found)
    return _BASH.replace("@ROWS@", "".join(rows))


def _zsh(found: list[Place]) -> str:
    rows = (f'    "{one.path}") offered=({" ".join(one.words)}) ;;\n' for one in found)
    return _ZSH.replace("@ROWS@", "".join(rows))


def _fish(found: list[Place]) -> str:
    lines = ["complete -c toril -f"]
    for place in found:
        deeper = {one.path.split()[-1] for one in found if one.path.startswith(f"{place.path} ")}
        verbs = [f"__fish_seen_subcommand_from {word}" for word in place.path.split()]
        if not place.path:
            verbs = ["__fish_use_subcommand"]
        elif deeper:
            verbs.append(f"not __fish_seen_subcommand_from {' '.join(sorted(deeper))}")
        when = "; and ".join(verbs)
        for word, text in place.words.items():
            name = f"-l {word[2:]}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c toril -n '{when}' {name} -d {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    plain = text.replace("%%", "%").replace("\\", "\\\\").replace("'", "\\'")
    return f"'{plain}'"


_WORDS = """\
_toril_words() {
    case "$1" in
@ROWS@    *) return 1 ;;
    esac
}
"""

_BASH = (
    """\
_toril() {
    local place="" word offered="" current="${COMP_WORDS[COMP_CWORD]}"
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in -*) break ;; esac
        _toril_words "${place:+$place }$word" || break
        place="${place:+$place }$word"
    done
    _toril_words "$place"
    COMPREPLY=($(compgen -W "$offered" -- "$current"))
}
"""
    + _WORDS
    + "complete -o default -F _toril toril\n"
)

_ZSH = (
    """\
_toril() {
    local place="" word
    local -a offered
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$word" in -*) break ;; esac
        _toril_words "${place:+$place }$word" || break
        place="${place:+$place }$word"
    done
    _toril_words "$place"
    compadd -- "${(@)offered}" || _files
}
"""
    + _WORDS
    + """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _toril toril
"""
)

_SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
