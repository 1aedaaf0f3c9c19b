"""A report as one HTML file that needs nothing else: no network, no server, the same bytes for the same parts."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from sojourn import __version__
from sojourn.core import BadInput
from sojourn.evaluate.formats import table_cells
from sojourn.evaluate.parts import Chart, Folded, Heading, Part, SideBySide
from sojourn.evaluate.scores import write_whole
from sojourn.evaluate.theme import COLORS, FONT, MONO, plotly_template


@dataclass(frozen=True)
class Report:
    """A title and the parts below it, in order.

    >>> from sojourn.evaluate import Prose
    >>> "<h1>What users are worth</h1>" in Report("What users are worth", parts=(Prose("Hello."),)).html()
    True
    """

    title: str
    subtitle: str = ""
    parts: Sequence[Part] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not self.title.strip():
            raise BadInput("evaluate.Report needs a title: Report('What users are worth', parts=(...))")

    def html(self) -> str:
        """The whole page. Plotly is inlined once, and left out when there is no chart."""
        has_charts = any(isinstance(part, Chart) for part in _all_parts(self.parts))
        page: str = _page().render(
            report=self,
            headings=[part for part in self.parts if isinstance(part, Heading)],
            plotly_js=_plotly_js() if has_charts else "",
            next_number=count(1).__next__,
            colors=COLORS,
            font=FONT,
            mono=MONO,
            version=__version__,
        )
        return page

    def write(self, path: Path) -> None:
        """Write the page; a reader sees the old file or the new one, never half of it."""
        write_whole(path, self.html())


def _all_parts(parts: Sequence[Part]) -> Iterator[Part]:
    for part in parts:
        yield part
        if isinstance(part, Folded | SideBySide):
            yield from _all_parts(part.parts)


@cache
def _page() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sojourn.evaluate", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(inline=_inline, slug=_slug, chart_json=_chart_json, cells=table_cells)
    return environment.get_template("report.html.j2")


@cache
def _plotly_js() -> Any:
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def _inline(text: str) -> Any:
    """Escaped text with `**bold**` and `` `code` `` as HTML."""
    from markupsafe import Markup, escape

    found = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", found))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _chart_json(figure: Any) -> Any:
    """The figure in our template as JSON that may stand inside a script element."""
    import plotly.graph_objects as go
    from markupsafe import Markup

    drawn = json.loads(go.Figure(figure).update_layout(template=plotly_template()).to_json())
    text = json.dumps({name: drawn[name] for name in ("data", "layout")}, separators=(",", ":"), sort_keys=True)
    return Markup(text.replace("<", "\\u003c"))
