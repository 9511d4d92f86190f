"""Text of others, made fit for lines and terminals; one table for the log and for commands."""

from __future__ import annotations

_CONTROLS = {
    code: repr(chr(code))[1:-1]
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0xD800, 0xE000))
}
"""C0, DEL, C1, Unicode's line ends and lone surrogates, as Python would write them: `\\n`."""

# Bidirectional overrides reorder what stands around them on the terminal.
_CONTROLS |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def visible(text: str) -> str:
    """The text on one line, with everything visible that ends lines or steers terminals."""
    return text if text.isprintable() else text.translate(_CONTROLS)
