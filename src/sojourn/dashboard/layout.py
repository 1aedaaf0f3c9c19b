"""Views become Dash components: tiles, panels with their definition and download, tables, and designed emptiness."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from sojourn.core import SojournError
from sojourn.dashboard.boards import grain_of, published, span
from sojourn.dashboard.choices import ALL, Choices
from sojourn.dashboard.figures import as_json, day_words, in_our_look, look_of_all
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.numbers import money_digits
from sojourn.dashboard.parts import Cell, Drawn, Part, Tile, View, drawn
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.sparkline import sparkline
from sojourn.evaluate.formats import table_cells
from sojourn.evaluate.parts import Column, Table
from sojourn.evaluate.theme import COLORS


def body(view: View, reader: Reader, filters: Filters) -> Any:
    """Everything below the filters of one page, for these filters."""
    from dash import html

    panels = [panel(view, part, reader, filters) for part in view.parts]
    # The charts are drawn by sojourn.js, those in the window first; what they have in common is sent once.
    look = html.Div(id="sj-look", hidden=True, **{"data-look": as_json(look_of_all())})
    return html.Div(
        [look, *_range(view, reader, filters), *_tiles(view, reader, filters), html.Div(panels, className="sj-grid")]
    )


def _range(view: View, reader: Reader, filters: Filters) -> list[Any]:
    """Which periods are shown, as the date fields are empty until somebody chooses."""
    from dash import html

    if not {"from", "grain"} <= set(view.controls) or not published(reader, "active_users"):
        return []
    grain = grain_of(reader, filters)
    try:
        first, last = span(reader, filters, grain=grain)
    except SojournError as mistake:
        return [problem(str(mistake))]
    told = f"{grain.capitalize()}s from {day_words(first, grain)} to {day_words(last, grain)}"
    return [html.P(told, className="sj-range")]


def problem(sentence: str) -> Any:
    """A sentence in place of a page or a panel that could not be made."""
    from dash import html

    return html.Div([html.Strong("This could not be shown."), html.P(sentence)], className="sj-problem", role="alert")


def notice(sentence: str) -> Any:
    """A sentence above what is shown: something of what was asked for is not in it."""
    from dash import html

    return html.P(sentence, className="sj-notice", role="status")


def panel(view: View, part: Part, reader: Reader, filters: Filters) -> Any:
    """One panel: heading, definition, download, and the figure, the table or the sentence why there is none."""
    from dash import html

    made = drawn(part, reader, filters)
    heading = f"{view.name}-{part.name}-title"
    name = f"{view.name}-{part.name}"
    if isinstance(made, SojournError):
        inside, full = problem(str(made)), False
    else:
        inside, full = _inside(part, made, name, csv_address(view, part, filters)), made.empty is None
    return html.Section(
        [
            html.Header(
                [html.H2(part.title, id=heading), _tools(view, part, filters, downloads=full)],
                className="sj-panel-head",
            ),
            inside,
        ],
        className=f"sj-panel sj-{part.width}",
        id=name,
        **{"aria-labelledby": heading},
    )


def _inside(part: Part, made: Drawn, name: str, address: str) -> Any:
    from dash import html

    if made.empty is not None:
        return html.Div(html.P(made.empty), className="sj-empty", role="note")
    if made.figure is None:
        return html.Div([_table(made, part.title), *_cut(made, address), *_note(made)])
    figure = in_our_look(made.figure, height=part.height)
    legend = _legend(figure)
    graph = html.Div(
        id=f"{name}-graph",
        className="sj-plot",
        style={"height": f"{part.height}px"},
        **{"data-figure": as_json(figure)},
    )
    said = made.said or part.title
    return html.Div([*legend, html.Div(graph, role="img", **{"aria-label": said}), *_note(made)])


def _legend(figure: dict[str, Any]) -> list[Any]:
    """What each colour stands for, as buttons that hide and show it; Plotly's own breaks on a narrow screen."""
    from dash import html

    wanted = figure["layout"].get("showlegend", False)
    figure["layout"]["showlegend"] = False
    if not wanted:
        return []
    shown = {
        trace.get("legendgroup") or trace["name"]: trace
        for trace in reversed(figure["data"])
        if trace.get("name") and trace.get("showlegend", True)
    }
    items = [
        html.Button(
            [html.Span(className="sj-swatch", style={"background": _color(trace)}), trace["name"]],
            type="button", className="sj-key", title="Hide or show", **{"aria-pressed": "true", "data-group": group},
        )
        for group, trace in reversed(shown.items())
    ]  # fmt: skip
    return [html.Div(items, className="sj-legend", role="group", **{"aria-label": "Legend"})]


def _color(trace: Mapping[str, Any]) -> str:
    found = (trace.get("line") or {}).get("color") or (trace.get("marker") or {}).get("color") or COLORS["ink"]
    return str(found)


def _cut(made: Drawn, address: str) -> list[Any]:
    """How much of a long table is seen, and where the rest is."""
    from dash import html

    if made.table.height <= made.shown:
        return []
    told = f"Showing {made.shown:,} of {made.table.height:,} rows. "
    link = html.A(f"Download all {made.table.height:,} as CSV", href=address, download=True)
    return [html.P([told, link], className="sj-note sj-cut")]


def _note(made: Drawn) -> list[Any]:
    from dash import html

    return [html.P(made.note, className="sj-note")] if made.note else []


def _tools(view: View, part: Part, filters: Filters, *, downloads: bool) -> Any:
    from dash import html

    about = html.Details(
        [
            html.Summary("Definition", title=part.definition, **{"aria-label": f"Definition of {part.title}"}),
            html.P(part.definition),
        ],
        className="sj-about",
    )
    if not downloads:
        return html.Div([about], className="sj-tools")
    link = html.A(
        "CSV",
        href=csv_address(view, part, filters),
        download=f"{view.name}-{part.name}.csv",
        className="sj-csv",
        title="Download this table as CSV",
        **{"aria-label": f"Download {part.title} as CSV"},
    )
    return html.Div([about, link], className="sj-tools")


def csv_address(view: View, part: Part, filters: Filters) -> str:
    """Where the table of this part lies as CSV."""
    query = filters.query()
    return f"/csv/{view.name}/{part.name}.csv{'?' if query else ''}{query}"


def _tiles(view: View, reader: Reader, filters: Filters) -> list[Any]:
    from dash import html

    if view.tiles is None:
        return []
    try:
        found = view.tiles(reader, filters)
    except SojournError as mistake:
        return [problem(str(mistake))]
    return [html.Div([_tile(each) for each in found], className="sj-tiles", role="list")] if found else []


def _tile(tile: Tile) -> Any:
    from dash import html

    change = html.Span(tile.change, className=f"sj-change sj-{tile.tone}") if tile.change else None
    against = html.Span(tile.against, className="sj-against")
    return html.Div(
        [
            html.Div(tile.label, className="sj-label", title=tile.definition),
            html.Div(tile.value, className="sj-value"),
            html.Div([change, against], className="sj-moved"),
            sparkline(tile.line),
        ],
        className="sj-tile",
        role="listitem",
    )


def _table(made: Drawn, title: str) -> Any:
    from dash import html

    cells = made.cells or {name: Cell(name.replace("_", " ").capitalize()) for name in made.table.columns}
    rows = made.table.head(made.shown).select(list(cells))
    columns = [
        Column(name, label=cell.heading, style=cell.style, digits=_digits(cell, rows[name]), unit=cell.unit)
        for name, cell in cells.items()
    ]
    shown = table_cells(Table(rows, columns=columns))
    head = html.Tr([html.Th(cell.heading, scope="col", className=_side(cell)) for cell in cells.values()])
    texts = _texts(made.table.head(made.shown), cells, shown)
    kinds = list(cells.values())
    lines = [
        html.Tr([html.Td(text, className=_side(kind)) for text, kind in zip(row, kinds, strict=True)]) for row in texts
    ]
    caption = html.Caption(title, className="sj-hidden")
    scrolled = html.Div(
        html.Table([caption, html.Thead(head), html.Tbody(lines)]),
        className="sj-table",
        tabIndex=0,
        role="region",
        **{"aria-label": f"{title}, table"},
    )
    aside = html.Div("More columns to the right: scroll sideways.", className="sj-aside")
    return html.Div([scrolled, aside], className="sj-scroll")


def _digits(cell: Cell, values: pl.Series) -> int | None:
    if cell.digits is not None or not cell.unit:
        return cell.digits
    return money_digits(values.cast(pl.Float64).to_list())


def _texts(rows: pl.DataFrame, cells: dict[str, Cell], shown: list[dict[str, Any]]) -> list[list[Any]]:
    """The text of every cell: made of its row where the column says how, else as its style says."""
    plain = [[each["text"] for each in row["cells"]] for row in shown]
    return [
        [text if cell.told is None else cell.told(row) for text, cell in zip(line, cells.values(), strict=True)]
        for line, row in zip(plain, rows.iter_rows(named=True), strict=True)
    ]


def _side(cell: Cell) -> str:
    return "sj-word" if cell.style == "text" else "sj-number"


def control_bar(view: View, choices: Choices) -> Any:
    """The filters of a page as native inputs: what a phone, a keyboard and a screen reader know already."""
    import dash_bootstrap_components as dbc
    from dash import dcc, html

    def field(name: str, label: str, control: Any) -> Any:
        hidden = "" if name in view.controls and (name != "board" or len(choices["board"]) > 1) else " sj-hidden"
        return html.Div([html.Label(label, htmlFor=f"filter-{name}"), control], className=f"sj-field{hidden}")

    def choice(name: str, label: str) -> Any:
        options = [{"label": told, "value": value} for value, told in choices[name]]
        return field(name, label, dbc.Select(id=f"filter-{name}", options=options, value=ALL))

    def typed(name: str, label: str, kind: str, **more: Any) -> Any:
        box = dbc.Input(id=f"filter-{name}", type=kind, value="", debounce=True, **more)
        return field(name, label, box)

    clear = html.Button("Clear", id="filter-clear", className="sj-clear", type="button", title="Clear every filter")
    return html.Form(
        [
            choice("board", "Board"),
            typed("from", "From", "date"),
            typed("to", "To", "date"),
            choice("grain", "Period"),
            choice("channel", "Channel"),
            choice("segment", "Campaign" if view.name == "acquisition" else "Segment"),
            typed("user", "User", "text", placeholder="User id", autoComplete="off"),
            clear,
            dcc.Store(id="filters"),
            dcc.Store(id="page-name", data=view.name),
        ],
        className="sj-filters",
        id="filter-form",
        **{"aria-label": "Filters", "role": "search"},
    )


def skeleton(view: View) -> Any:
    """What stands in the page's place while it is made."""
    from dash import html

    tiles = [html.Div(className="sj-tile sj-wait") for _ in range(4 if view.tiles else 0)]
    panels = [html.Div(className=f"sj-panel sj-wait sj-{part.width}") for part in view.parts[:4]]
    told = html.P(f"Loading {view.title.lower()} …", className="sj-hidden", role="status")
    return html.Div([told, html.Div(tiles, className="sj-tiles"), html.Div(panels, className="sj-grid")])


def as_csv(table: pl.DataFrame) -> str:
    """The table as CSV with a heading line; lists and structs as JSON text."""
    nested = [name for name, kind in table.schema.items() if kind.is_nested()]
    flat = table.with_columns(pl.col(name).map_elements(str, return_dtype=pl.String) for name in nested)
    return flat.write_csv()
