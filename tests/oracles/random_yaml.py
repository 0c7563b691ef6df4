"""Random documents that readers of YAML are known to differ on, and damaged ones."""

# ruff: noqa: S311, RUF001, PERF401

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

WORDS = (
    "20:22", "190:20:30", "1:30.5", "-1:59", "8e1", "8e+1", "8E-1", "1e3", "1.5e3", ".5e1", "1.e2", "1e400", "-1e-400", "1e",
    "010", "08", "0o17", "0O17", "0x1F", "-0x1f", "+0X1f", "0b101", "-0b11", "0B1", "0b-1", "0b+1", "0b2", "0x", "0o8", "00",
    "-010", "1_000", "1__0", "_1", "0_7", "0x_1F", "1_0.5_0", "._5", "+1", "-0", "-0.0", "+.5", "-.5", ".5", "5.", ".", "..",
    "yes", "no", "on", "off", "y", "n", "Y", "N", "Yes", "NO", "ON", "oFF", "true", "True", "TRUE", "tRue", "false", "False",
    "null", "Null", "NULL", "nUll", "~", "nil", "None", "2001-01-01", "2001-1-1", "2001-99-99", "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43.10 -5", "2001-01-01T00:00:00Z", "02001-01-01", "<<", "=", "!", "&", "*", "9223372036854775807",
    "-9223372036854775808", "9223372036854775808", "18446744073709551615", "18446744073709551616", "123456789012345678901",
    "9007199254740993", "9007199254740993.0", "1e15", "1e16", "1e21", "0.1", "0.30000000000000004", "4.35", "1e-7", "5e-324",
    ".inf", "-.inf", "+.Inf", ".INF", ".nan", ".NaN", "+.nan", "inf", "nan", "Infinity", "0.0", "1.0", "100.0", "1e2.5",
    "10.0.0.0/8", "80-90", "80:90", "fe80::1", "::", "a:b", "a#b", "a #b", "- a", "-", "--", "---a", "...", "? a", "?", ":", "a:",
    "²", "１２", "é", "日本", "😀", "\u00a0x", "0x1p-2", "1E+2", "+", "+-1", "1+1", "v1", "1.2.3", "%a", "@a", "`a", "|a", ">a", "1,2",
)  # fmt: skip
ESCAPES = (r"\n", r"\t", r"\x41", r"\u00e9", r"\U0001F600", r"\ud800", r"\ud83d\ude00", r"\0", r"\e", r"\/", r"\ ", r"\N", r"\_", r"\L", r"\q", r"\"", r"\\", "\\\n  ")  # fmt: skip
NOISE = (
    "\t", "\r\n", "\r", "\n", " ", "  ", ":", ": ", "- ", "? ", "#", " #", "&a ", "*a", "!", "!!str ", "!!int ", "!!binary ",
    "!x ", "'", '"', "|", ">", "|-", ">+", "|2", "[", "]", "{", "}", ",", "%", "@", "`", "<<", "<<: ", "~", "\ufeff", "\x85",
    "\u2028", "\x00", "\x07", "\x7f", "\ud800", "---", "\n---\n", "\n---#\n", "\n--- a\n", "\n---\u00a0\n", "\n...\n", "\\", "\\x4", "0", "_", "e", ".",
    "\n%YAML 1.1\n---\n", "\n%TAG ! x\n---\n",
)  # fmt: skip
PORTS = ("80", "8e1", "20:22", "0x50", "0120", '"80"', "80.0", "+80", "8_0", "http", "2001-01-01", "yes", "-1", "65536")


def documents(seed: int) -> Iterator[str]:
    """Texts without end, the same for the same seed."""
    rng = random.Random(seed)
    makers: tuple[Callable[[random.Random], str], ...] = (
        _blocks,
        _blocks,
        _mutant,
        _mutant,
        _policy,
        _soup,
        _json,
        _several,
    )
    while True:
        text = rng.choice(makers)(rng)
        if rng.random() < 0.03:
            text = text.replace("\n", "\r\n")
        if rng.random() < 0.02:
            text = "\ufeff" + text
        yield text


def _blocks(rng: random.Random) -> str:
    anchors: list[str] = []
    return _block(rng, 0, 0, anchors, in_map=False).lstrip("\n") + rng.choice(
        ("\n", "", "\n\n", "\n...\n", "\n# end\n")
    )


def _block(rng: random.Random, depth: int, indent: int, anchors: list[str], *, in_map: bool) -> str:
    kind = rng.choice(("map", "map", "list", "scalar")) if depth < 4 else "scalar"
    head = ""
    if rng.random() < 0.08:
        name = rng.choice("abc")
        head = f"&{name} "
        anchors.append(name)
    if rng.random() < 0.01:
        head += rng.choice(
            ("!!str ", "!!map ", "!", "!x ", "!!int ", "!!binary ", "!!float ", "!<tag:yaml.org,2002:str> ")
        )
    if anchors and rng.random() < 0.08:
        return " *" + rng.choice(anchors)
    if kind == "scalar":
        return " " + head + _scalar(rng, indent)
    pad = " " * indent
    lines = []
    if kind == "list":
        inner = indent if in_map and rng.random() < 0.3 else indent + rng.choice((0, 1, 2))
        pad = " " * inner
        for _ in range(rng.randint(0, 4)):
            lines.append(pad + "-" + _block(rng, depth + 1, inner + 2, anchors, in_map=False))
    else:
        for _ in range(rng.randint(0, 4)):
            if anchors and rng.random() < 0.08:
                merged = rng.choice(
                    (f"*{rng.choice(anchors)}", f"[*{rng.choice(anchors)}, *{rng.choice(anchors)}]", "{a: 1}", "null")
                )
                lines.insert(len(lines) if rng.random() < 0.5 else 0, f"{pad}<<: {merged}")
            key = rng.choice(("a", "b", "c", "d e", "port", "k8s:app"))
            if rng.random() < 0.15:
                key = _scalar(rng, indent, key=True)
            if rng.random() < 0.02:
                key = "? " + key + "\n" + pad
            lines.append(f"{pad}{key}:{_block(rng, depth + 1, indent + 2, anchors, in_map=True)}")
            if rng.random() < 0.05:
                lines.append(rng.choice(("# comment", pad + "# comment: x", "", "\t", pad + "  ")))
    if not lines:
        return f" {head}{rng.choice(('{}', '[]', '', '~'))}"
    return f" {head}\n" + "\n".join(lines)


def _scalar(rng: random.Random, indent: int, *, key: bool = False) -> str:
    word = rng.choice(WORDS)
    how = rng.random()
    if how < 0.6 or (key and how < 0.75):
        return word
    if how < 0.7:
        return (
            "'"
            + word.replace("'", "''")
            + rng.choice(("", "''", "" if key else "\n" + " " * (indent + 1) + "more"))
            + "'"
        )
    if how < 0.8:
        inner = "".join(
            rng.choice((rng.choice(ESCAPES[:-1] if key else ESCAPES), "x", " ")) for _ in range(rng.randint(0, 4))
        )
        return '"' + word.replace("\\", "").replace('"', "") + inner + '"'
    if key:
        return word
    if how < 0.9:
        pad = " " * (indent + rng.choice((1, 2, 2, 3)))
        head = rng.choice("|>") + rng.choice(("", "-", "+", "1", "2", "-1", "2+", " # c", "0", "-+"))
        lines = [
            rng.choice((pad + rng.choice(WORDS), "", pad + "  " + rng.choice(WORDS), pad + "\t" + "x"))
            for _ in range(rng.randint(0, 4))
        ]
        return head + "\n" + "\n".join(lines)
    if how < 0.95:
        return _flow(rng, 0)
    return word + "\n" + " " * (indent + 1) + rng.choice(WORDS)


def _flow(rng: random.Random, depth: int) -> str:
    kind = rng.random()
    if depth > 2 or kind < 0.4:
        word = rng.choice(WORDS)
        return rng.choice((word, word, json.dumps(word), f"'{word}'"))
    space = rng.choice(("", " ", " ", "\n  ", "\t"))
    if kind < 0.7:
        return (
            "["
            + ("," + space).join(_flow(rng, depth + 1) for _ in range(rng.randint(0, 3)))
            + rng.choice(("", ",", space))
            + "]"
        )
    colon = rng.choice((": ", ": ", ":", " : ", ":\t"))
    pairs = (
        rng.choice((rng.choice("abcd"), rng.choice(WORDS), '"a"')) + colon + _flow(rng, depth + 1)
        for _ in range(rng.randint(0, 3))
    )
    return "{" + ("," + space).join(pairs) + rng.choice(("", ",", space)) + "}"


def _mutant(rng: random.Random) -> str:
    text = rng.choice((_blocks, _policy, lambda r: _flow(r, 0), _json))(rng)
    for _ in range(rng.randint(1, 3)):
        at = rng.randint(0, len(text))
        end = min(len(text), at + rng.choice((0, 0, 0, 1, 1, 3)))
        text = text[:at] + rng.choice((rng.choice(NOISE), rng.choice(WORDS), "")) + text[end:]
    return text


def _policy(rng: random.Random) -> str:
    lines = [
        "apiVersion: projectcalico.org/v3", "kind: GlobalNetworkPolicy", "metadata:", f"  name: {rng.choice(('web', 'a.b', rng.choice(WORDS)))}",
        "spec:", f"  order: {rng.choice(('1', '1e2', '10.5', '0x10', rng.choice(WORDS)))}", "  selector: app == 'web'",
        "  ingress:", "  - action: Allow", "    protocol: TCP", "    destination:", f"      ports: [{', '.join(rng.choice(PORTS) for _ in range(rng.randint(1, 3)))}]",
    ]  # fmt: skip
    if rng.random() < 0.2:
        lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    return "\n".join(lines) + "\n"


def _soup(rng: random.Random) -> str:
    return "".join(
        rng.choice((rng.choice(NOISE), rng.choice(WORDS), "a", ": ", "\n", "\n  ")) for _ in range(rng.randint(0, 14))
    )


def _json(rng: random.Random) -> str:
    def value(depth: int) -> object:
        match rng.randint(0, 6 if depth < 3 else 4):
            case 0:
                return rng.choice(WORDS)
            case 1:
                return rng.choice((0, 1, -1, 80, 2**31, 2**63 - 1, 2**64, 10**25))
            case 2:
                return rng.choice((0.1, 1.0, 1e20, -2.5e-8, 1e300))
            case 3:
                return rng.choice((True, False, None))
            case 4:
                return "\x7f\u2028\u0085\t\n \u00e9😀"[rng.randint(0, 8) :]
            case 5:
                return [value(depth + 1) for _ in range(rng.randint(0, 3))]
            case _:
                return {rng.choice(("a", "b", rng.choice(WORDS))): value(depth + 1) for _ in range(rng.randint(0, 3))}

    return json.dumps(value(0), ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 2, "\t")))


def _several(rng: random.Random) -> str:
    between = (
        "---\n",
        "--- \n",
        "--- # c\n",
        "---#c\n",
        "...\n",
        "...\n---\n",
        "--- a\n",
        "--- {a: 1}\n",
        "---\t\n",
        "\n---\n",
        "%YAML 1.1\n---\n",
    )
    parts = [rng.choice(("", between[0], rng.choice(between)))]
    for _ in range(rng.randint(1, 3)):
        parts.append(rng.choice((_blocks, _policy, lambda r: _flow(r, 0) + "\n", lambda _: "", lambda _: "# c\n"))(rng))
        parts.append(rng.choice((between[0], between[0], rng.choice(between))))
    return "".join(parts)
