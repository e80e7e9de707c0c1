"""Charts in Vega-Lite, drawn without a browser or a network: as SVG, as PNG, or as a page of HTML
that answers to the pointer."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import ttf_opensans
import vl_convert

from counterfoil.core.problems import Problem, Refused

Spec = Mapping[str, object]
"""A Vega-Lite specification as plain values; numbers in its data are texts, parsed when drawn."""

SCALE = 2
"""Pixels of a PNG per pixel of the specification."""

FONT = "Open Sans"

_once = threading.Lock()
_fonts: list[Path] = []


def _register_font() -> None:
    with _once:
        if not _fonts:
            folder = Path(ttf_opensans.__file__).parent / "ttf"
            vl_convert.register_font_directory(str(folder))
            _fonts.append(folder)


def svg_chart(spec: Spec) -> bytes:
    """The chart as SVG."""
    _register_font()
    return str(vl_convert.vegalite_to_svg(dict(spec))).encode()


def png_chart(spec: Spec) -> bytes:
    """The chart as PNG."""
    _register_font()
    return bytes(vl_convert.vegalite_to_png(dict(spec), scale=SCALE))


def html_chart(spec: Spec) -> bytes:
    """The chart as a page of its own, with everything it needs inside."""
    return str(vl_convert.vegalite_to_html(dict(spec), bundle=True)).encode()


def json_chart(spec: Spec) -> bytes:
    """The specification itself, to be drawn elsewhere."""
    return msgspec.json.format(msgspec.json.encode(spec), indent=2)


FORMATS: Mapping[str, Callable[[Spec], bytes]] = {
    ".svg": svg_chart,
    ".png": png_chart,
    ".html": html_chart,
    ".json": json_chart,
}


def chart_format(path: Path) -> Callable[[Spec], bytes]:
    """What draws a chart in the format of a file's name; refuses (422) an unknown one."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        message = f"has the ending {path.suffix!r}"
        raise Refused(Problem("unknown_format", message, "chart", tuple(FORMATS)))
    return found
