"""A warehouse becomes a Vizro app: one page a view, one callback that fills it, one route for every CSV."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

from sojourn.core import BadInput, SojournError, need
from sojourn.dashboard.choices import board_of, choices, known, on_board
from sojourn.dashboard.filters import Filters
from sojourn.dashboard.layout import as_csv, body, control_bar, notice, problem, skeleton
from sojourn.dashboard.pages import VIEWS, views_of
from sojourn.dashboard.parts import View
from sojourn.dashboard.reader import Reader
from sojourn.dashboard.spec import DashboardSpec
from sojourn.warehouse import Warehouse

ASSETS = Path(__file__).parent / "assets"
CONTROLS = ("board", "from", "to", "grain", "channel", "segment", "user")
PLOTLY = "/_dash-component-suites/plotly/package_data/plotly.min.js"
# Libraries that Vizro brings along and no page of ours uses: 2.4 MB of JavaScript a browser would read for nothing.
MANTINE = "dash_mantine_components"
UNUSED = ("dash_ag_grid", "vizro_dash_components", "dash_table", MANTINE)


def dashboard_app(warehouse: Warehouse, spec: DashboardSpec | None = None) -> Any:
    """The dashboard of a warehouse, as a Dash app whose `server` any WSGI server can serve.

    Nothing is written, and no page asks for anything outside the server. Raises `MissingExtra` without the extra
    `dashboard`.
    """
    need("vizro", extra="dashboard", for_="sojourn dashboard")
    reader = Reader(warehouse, spec or DashboardSpec())
    app = _vizro(reader)
    _fill_pages(app, reader)
    _serve_csv(app.server, reader)
    app.reader = reader
    return app


def _vizro(reader: Reader) -> Any:
    """Vizro with a page for each view, without what it loads and we do not use."""
    import vizro.models as vm
    from dash.development.base_component import ComponentRegistry
    from vizro import Vizro

    Vizro._reset()  # Vizro keeps pages in the process; a second app in it would find those of the first
    page_body = _page_body(vm.VizroBaseModel, reader)
    vm.Page.add_type("components", page_body)
    page, dashboard = _plain(vm.Page), _plain(vm.Dashboard)
    pages = [page(id=view.name, title=view.title, components=[page_body(view=view.name)]) for view in views_of(reader)]
    navigation = vm.Navigation(nav_selector=vm.NavBar(position="top"))
    board = dashboard(pages=pages, title=reader.spec.title, theme="vizro_light", navigation=navigation)
    app = Vizro(assets_folder=str(ASSETS), update_title=None).build(board).dash
    for library in set(UNUSED) & set(ComponentRegistry.registry):
        ComponentRegistry.registry.discard(library)
    # Plotly is two thirds of all JavaScript: fetched at once, and run by sojourn.js while the server makes the page.
    early = f'<link rel="preload" as="script" id="sj-plotly" href="{app.get_relative_path(PLOTLY)}">'
    app.index_string = app.index_string.replace("<html", "<html lang='en'", 1).replace("{%css%}", early + "{%css%}", 1)
    return app


def _plain(base: type[Any]) -> type[Any]:
    """A model of Vizro's that is built without Mantine: a frame around all, and a place for notes that none uses."""

    class Plain(base):  # type: ignore[misc]
        def build(self) -> Any:
            """What Vizro builds, of plain HTML alone."""
            built = super().build()
            if _is_mantine(built):
                return built.children[0]
            for part in built.children:
                part.children = [each for each in part.children if not _is_mantine(each)]
            return built

    return Plain


def _is_mantine(component: Any) -> bool:
    return getattr(component, "_namespace", None) == MANTINE


def _page_body(base: type[Any], reader: Reader) -> type[Any]:
    """Vizro's component for the whole of a page: the filters, and the room that a callback fills."""

    class PageBody(base):  # type: ignore[misc]
        type: Literal["sojourn_page"] = "sojourn_page"
        view: str

        def build(self) -> Any:
            """The page before its filters are known."""
            from dash import html

            view = view_of(self.view)
            told = html.Div(id="page-told", className="sj-hidden", role="status", **{"aria-live": "polite"})
            top = html.Div([html.H1(view.title), html.P(view.lead)], className="sj-top")
            room = html.Div(_first_look(view, reader), id="page-body")
            return html.Main([top, _bar(view, reader), told, room], className="sj-page", id="sj-page")

    return PageBody


def _first_look(view: View, reader: Reader) -> Any:
    """The page as its address asks for it, so that a browser need not ask twice; a skeleton outside of a request."""
    from flask import has_request_context

    if not has_request_context():
        return skeleton(view)
    return _filled(reader, view.name, _query())[0]


def _query() -> str:
    """The query of the address whose page Dash asks for; empty outside of a request."""
    from flask import has_request_context, request

    if not has_request_context():
        return ""
    asked = (request.get_json(silent=True) or {}).get("inputs", [])
    query = next((each.get("value") or "" for each in asked if each.get("property") == "search"), "")
    return str(query).removeprefix("?")


def view_of(name: str) -> View:
    """The view of this name. Raises `BadInput`."""
    found = next((view for view in VIEWS if view.name == name), None)
    if found is None:
        raise BadInput(f"The dashboard has no page {name!r}; it has {[view.name for view in VIEWS]}.")
    return found


def _bar(view: View, reader: Reader) -> Any:
    try:
        with reader.one_look():
            board = parse_qs(_query()).get("board", [""])[0]
            return control_bar(view, choices(on_board(reader, board), view))
    except SojournError as mistake:
        return problem(str(mistake))


def _fill_pages(app: Any, reader: Reader) -> None:
    from dash import ClientsideFunction, Input, Output, State

    values = [f"filter-{name}" for name in CONTROLS]
    app.clientside_callback(
        ClientsideFunction("sojourn", "restore"),
        [Output(name, "value") for name in values],
        Input("page-name", "data"),
        Input("filter-clear", "n_clicks"),
    )
    app.clientside_callback(
        ClientsideFunction("sojourn", "changed"),
        Output("filters", "data"),
        [Input(name, "value") for name in values],
    )

    @app.callback(  # type: ignore[untyped-decorator]
        Output("page-body", "children"),
        Output("page-told", "children"),
        Input("filters", "data"),
        State("page-name", "data"),
        prevent_initial_call=True,
    )
    def fill(query: str | None, name: str) -> tuple[Any, str]:
        return _filled(reader, name, query or "")


def _filled(reader: Reader, name: str, query: str) -> tuple[Any, str]:
    from dash import html

    try:
        view = view_of(name)
        filters = Filters.from_query(query).only(view.controls)
        with reader.one_look():
            reader, filters, notices = _asked(reader, view, filters)
            if view.notices:
                notices += view.notices(reader, filters)
            made = body(view, reader, filters)
    except SojournError as mistake:
        return problem(str(mistake)), str(mistake)
    except Exception as fault:  # ours: whoever looks at the page gets a sentence, whoever runs the server the traceback
        logging.getLogger(__name__).exception("page %s with filters %r", name, query)
        told = (
            f"The server met a fault of its own ({type(fault).__name__}). Its log says where; the "
            "other pages still work."
        )
        return problem(told), told
    told = " ".join([*notices, f"{view.title} is shown."])
    return html.Div([*map(notice, notices), made], **{"data-query": query}), told


def _asked(reader: Reader, view: View, filters: Filters) -> tuple[Reader, Filters, list[str]]:
    """The reader of the board that is asked for, the filters that it knows, and what had to be left out."""
    found, filters, told = board_of(reader, view, filters)
    filters, more = known(found, view, filters)
    return found, filters, [*told, *more]


def _serve_csv(server: Any, reader: Reader) -> None:
    """`/csv/PAGE/CHART.csv?FILTERS`: the table behind a chart, as it is shown."""
    from flask import Response, request

    def csv(page: str, chart: str) -> Any:
        try:
            view = view_of(page)
            filters = Filters.from_query(request.query_string.decode()).only(view.controls)
            with reader.one_look():
                found, filters, notices = _asked(reader, view, filters)
                if notices:
                    raise BadInput(" ".join(notices))
                made = view.part(chart).make(found, filters)
        except SojournError as mistake:
            return Response(f"{mistake}\n", status=404, mimetype="text/plain")
        name = f"{page}-{chart}.csv"
        told = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(as_csv(made.table), mimetype="text/csv", headers=told)

    add: Callable[..., None] = server.add_url_rule
    add("/csv/<page>/<chart>.csv", "csv", csv)
