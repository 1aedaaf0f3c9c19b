"""What a report is made of: headings, cards, prose, tables, charts, callouts and folded details."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import polars as pl

from sojourn.core import BadInput, Spec, missing_columns
from sojourn.evaluate.bootstrap import Interval
from sojourn.evaluate.metrics import METRICS, metric_names
from sojourn.evaluate.scores import Scores

Style = Literal["number", "percent", "change", "times", "text"]
Better = Literal["low", "high", "zero"]


@dataclass(frozen=True)
class Heading:
    """A section's title, shown in the list of contents, with an optional sentence below it."""

    kind: ClassVar[str] = "heading"
    text: str
    lead: str = ""


@dataclass(frozen=True)
class Prose:
    """Paragraphs, parted by blank lines; `**bold**` and `` `code` `` are understood, everything else is plain text."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True)
class Card:
    """One headline figure: what it is, the figure as text, and a note such as its interval."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cards:
    """Headline figures side by side."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Column:
    """How a column of a table is shown: label, number style, digits, and where its good end is (that cell is marked).

    `percent` shows 0.123 as 12.3 %, `change` as +12.3 %, `times` shows 2.5 as 2.5×. Without `digits` the largest value
    of the column decides. `unit` goes before the number ("$").
    """

    name: str
    label: str = ""
    style: Style = "number"
    digits: int | None = None
    better: Better | None = None
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows as a table. A cell may be text, a number, a date, None (shown as a dash) or an `Interval`.

    `mark` is the text in the first column of the row to set apart, `mark_label` what is written beside it. Without
    `columns` every column is shown as it is.
    """

    kind: ClassVar[str] = "table"
    rows: pl.DataFrame | Sequence[Mapping[str, Any]]
    columns: Sequence[Column] = ()
    title: str = ""
    caption: str = ""
    mark: str | None = None
    mark_label: str = "chosen"

    def __post_init__(self) -> None:
        if not self.columns and not self.row_dicts:
            raise BadInput(
                "evaluate.Table has neither rows nor columns. Say in a Callout why there is nothing to show."
            )
        for row in self.row_dicts:
            if missing := [column.name for column in self.shown_columns if column.name not in row]:
                raise missing_columns("evaluate.Table", missing=missing, found=list(row))

    @property
    def row_dicts(self) -> list[dict[str, Any]]:
        """The rows, by column name."""
        return self.rows.to_dicts() if isinstance(self.rows, pl.DataFrame) else [dict(row) for row in self.rows]

    @property
    def shown_columns(self) -> Sequence[Column]:
        """The columns that were asked for, or all of the first row's."""
        return self.columns or tuple(Column(name) for name in self.row_dicts[0])


@dataclass(frozen=True)
class Chart:
    """A Plotly figure with a title that says what it shows, and one line on how to read it."""

    kind: ClassVar[str] = "chart"
    figure: Any
    title: str
    caption: str = ""
    how_to_read: str = ""


@dataclass(frozen=True)
class Callout:
    """A sentence that must not be missed."""

    kind: ClassVar[str] = "callout"
    text: str
    tone: Literal["note", "good", "warning"] = "note"


@dataclass(frozen=True)
class SideBySide:
    """Parts next to each other where the screen is wide enough."""

    kind: ClassVar[str] = "side"
    parts: "Sequence[Part]"


@dataclass(frozen=True)
class Folded:
    """Details that open on a click: settings, appendices."""

    kind: ClassVar[str] = "folded"
    title: str
    parts: "Sequence[Part]" = field(default_factory=tuple)


Part = Heading | Prose | Cards | Table | Chart | Callout | SideBySide | Folded


def scores_part(
    scores: Scores,
    *,
    metrics: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    title: str = "",
    caption: str = "",
) -> Table:
    """The table of a task's models: every metric with its interval, the best marked, the chosen model set apart.

    `labels` turns model names into readable ones. Raises `BadInput` for a metric that the task does not have.
    """
    known = metric_names(scores.kind)
    unknown = [name for name in metrics if name not in known]
    if unknown:
        raise BadInput(f"evaluate.scores_part: a {scores.kind} task has no metrics {unknown}; it has {list(known)}.")
    names = tuple(metrics) or known
    readable = labels or {}
    rows = [
        {"model": readable.get(model, model), **{name: figures[name] for name in names}}
        for model, figures in scores.models.items()
    ]
    columns = (Column("model", "Model", style="text"), *(metric_column(name) for name in names))
    chosen = None if scores.chosen is None else readable.get(scores.chosen, scores.chosen)
    return Table(rows, columns=columns, title=title, caption=caption, mark=chosen)


def metric_column(name: str) -> Column:
    """How a metric is shown in a table."""
    metric = METRICS[name]
    if name == "bias":
        return Column(name, metric.label, style="change", digits=1, better=metric.better)
    if name.startswith("lift"):
        return Column(name, metric.label, style="times", digits=2, better=metric.better)
    return Column(name, metric.label, digits=None if name in ("mae", "rmse") else 3, better=metric.better)


def settings_part(spec: Spec, *, title: str = "Settings") -> Folded:
    """Every setting of a Spec, folded away: what is needed to repeat the run."""
    rows = [{"setting": name, "value": text} for name, text in _flat(spec.model_dump(mode="json"))]
    columns = (Column("setting", "Setting", style="text"), Column("value", "Value", style="text"))
    return Folded(title, parts=(Table(rows, columns=columns, caption=f"Fingerprint {spec.fingerprint}"),))


def interval_note(interval: Interval, *, style: Style = "number", digits: int | None = None, unit: str = "") -> str:
    r"""The ends of an interval as a card's note, kept on one line; empty when they are not defined.

    >>> interval_note(Interval(value=172.3, low=165.2, high=180.4), unit="$")
    '95 % interval $165.2\xa0–\xa0$180.4'
    """
    from sojourn.evaluate.formats import range_text

    ends = range_text(interval, style=style, digits=digits, unit=unit).replace(" ", "\xa0")
    return f"95 % interval {ends}" if ends else ""


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{above}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{above}{name}", text))
    return rows
