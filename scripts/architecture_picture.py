"""Draw `docs/images/architecture.svg` from the imports themselves: `python -m scripts.architecture_picture`.

One row a folder of `src/cac`, upper layers first, as the contract in `pyproject.toml` orders them; a band is one layer.
The text beside a folder is the first line of its `__init__.py`. An arc on the left runs from a folder down to one that
it imports; imports that follow from others (a imports b, b imports c, so a imports c) are not drawn. The same sources
give the same bytes, and `tests/test_architecture.py` fails when the committed picture is out of date.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import grimp
import networkx as nx

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
CONTRACT = "Layers of cac: a folder imports only folders below it"

_ROW, _GAP, _TOP, _WIDTH = 34, 8, 64, 1240  # pixels
_BOX_LEFT, _BOX_WIDTH, _TEXT_LEFT = 300, 172, 492
_FONT = "font-family='DejaVu Sans, Helvetica, Arial, sans-serif'"
_BANDS = ("#eef3f8", "#f7f4ec")
_INK, _SOFT, _LINE, _BOX = "#1f2933", "#52606d", "#3b6ea5", "#ffffff"


def layers() -> list[list[str]]:
    """Return the folders and modules of `cac`, layer by layer from the top, `flows` above all."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in config["tool"]["importlinter"]["contracts"] if one["name"] == CONTRACT)
    return [["flows"], *([name.strip() for name in layer.split("|")] for layer in contract["layers"])]


def imports() -> "nx.DiGraph[str]":
    """Return which folder imports which, without the imports that follow from others and those for type checkers."""
    graph = grimp.build_graph("cac", "flows", exclude_type_checking_imports=True, cache_dir=None)
    found: nx.DiGraph[str] = nx.DiGraph()
    for module in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(module)):
            ours, theirs = _folder(module), _folder(imported)
            if ours and theirs and ours != theirs:
                found.add_edge(ours, theirs)
    return nx.transitive_reduction(found)


def _folder(module: str) -> str | None:
    """Return the folder or root module that a module belongs to; None for `cac/__init__.py` and `__main__.py`."""
    parts = module.split(".")
    if parts[0] == "flows":
        return "flows"
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else None


def summary(name: str) -> str:
    """Return the first line of a folder's or module's docstring."""
    base = ROOT / "flows" if name == "flows" else ROOT / "src" / "cac" / name
    source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", 1)[0].replace("`", "")


def draw() -> str:
    """Return the picture as SVG."""
    rows = {name: number for number, name in enumerate(name for layer in layers() for name in layer)}
    height = _TOP + len(rows) * (_ROW + _GAP) + 16
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}' viewBox='0 0 {_WIDTH} {height}'>",
        f"<title>Folders of src/cac by layer</title><rect width='{_WIDTH}' height='{height}' fill='#ffffff'/>",
        "<defs><marker id='arrow' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0,0 L8,4 L0,8 z' fill='{_LINE}'/></marker></defs>",
        f"<text x='{_BOX_LEFT}' y='38' {_FONT} font-size='16' font-weight='bold' fill='{_INK}'>"
        "A folder imports only folders below it</text>",
        *_bands(rows),
        *_arcs(rows),
        *(part for name, row in rows.items() for part in _box(name, row)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _y(row: int) -> int:
    return _TOP + row * (_ROW + _GAP)


def _bands(rows: dict[str, int]) -> Iterator[str]:
    for number, layer in enumerate(layers()):
        first, last = _y(rows[layer[0]]), _y(rows[layer[-1]]) + _ROW
        yield (
            f"<rect x='{_BOX_LEFT - 12}' y='{first - _GAP // 2}' width='{_WIDTH - _BOX_LEFT - 4}' "
            f"height='{last - first + _GAP}' fill='{_BANDS[number % 2]}'/>"
        )


def _box(name: str, row: int) -> Iterator[str]:
    folder = name == "flows" or (ROOT / "src" / "cac" / name).is_dir()
    title = f"{name}/" if folder else f"{name}.py"
    yield (
        f"<rect x='{_BOX_LEFT}' y='{_y(row)}' width='{_BOX_WIDTH}' height='{_ROW}' rx='5' fill='{_BOX}' "
        f"stroke='{_INK}' stroke-width='{1.4 if folder else 0.7}'/>"
    )
    yield (
        f"<text x='{_BOX_LEFT + 12}' y='{_y(row) + 22}' {_FONT} font-size='14' font-weight='bold' fill='{_INK}'>"
        f"{escape(title)}</text>"
    )
    yield (
        f"<text x='{_TEXT_LEFT}' y='{_y(row) + 22}' {_FONT} font-size='12' fill='{_SOFT}'>"
        f"{escape(summary(name))}</text>"
    )


def _arcs(rows: dict[str, int]) -> Iterator[str]:
    """Yield the imports as arcs, the longer the further to the left; each folder's arcs leave and arrive apart."""
    edges = sorted(
        ((upper, lower) for upper, lower in imports().edges), key=lambda edge: (rows[edge[0]], rows[edge[1]])
    )
    leaving, arriving = _ports(edges, 0, 1, rows), _ports(edges, 1, 0, rows)
    for upper, lower in edges:
        start, end = _y(rows[upper]) + leaving[upper, lower], _y(rows[lower]) + arriving[upper, lower]
        reach = 26 + 15 * (rows[lower] - rows[upper])
        yield (
            f"<path d='M{_BOX_LEFT},{start:.1f} C{_BOX_LEFT - reach},{start:.1f} {_BOX_LEFT - reach},{end:.1f} "
            f"{_BOX_LEFT - 1},{end:.1f}' fill='none' stroke='{_LINE}' stroke-width='1.2' marker-end='url(#arrow)'>"
            f"<title>{upper} imports {lower}</title></path>"
        )


def _ports(edges: list[tuple[str, str]], end: int, other: int, rows: dict[str, int]) -> dict[tuple[str, str], float]:
    """Return where on its folder's edge each import begins (`end` 0) or ends (1), in pixels from the top of the box."""
    ports = {}
    for name in {edge[end] for edge in edges}:
        here = sorted((edge for edge in edges if edge[end] == name), key=lambda edge: -rows[edge[other]])
        half = _ROW / 2
        for place, edge in enumerate(here):
            span = (place + 1) / (len(here) + 1) * (half - 4)
            ports[edge] = half + 2 + (half - 4 - span) if end == 0 else 2 + span
    return ports


def main() -> int:
    """Write the picture and return the exit code."""
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
