"""Reports: one file that asks nothing of a network, the same bytes for the same parts, and text cannot break it."""

import json
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from sojourn.core import BadInput, MissingColumn
from sojourn.evaluate import (
    BootstrapSpec,
    Callout,
    Card,
    Cards,
    Chart,
    Column,
    ConformalSpec,
    Folded,
    Heading,
    Interval,
    Prose,
    Report,
    SideBySide,
    Table,
    Task,
    calibration_table,
    coverage_chart,
    coverage_table,
    decile_chart,
    decile_table,
    ecdf_chart,
    gain_chart,
    histogram_chart,
    interval_chart,
    interval_note,
    number_text,
    range_text,
    reliability_chart,
    score_models,
    scores_part,
    settings_part,
)
from sojourn.evaluate.formats import digits_for
from sojourn.evaluate.theme import CATEGORICAL, COLORS

RNG = np.random.default_rng(0)
TRUTH = np.where(RNG.random(300) < 0.3, 0.0, RNG.lognormal(3, 1, 300))
PRED = TRUTH * RNG.lognormal(0, 0.3, 300) + 1
TABLE = pl.DataFrame({"user_id": range(300), "spend": TRUTH, "good": PRED, "zero": 0.0})
SCORES = score_models(
    TABLE,
    task=Task(name="ltv_90", kind="value", truth="spend", models=("good", "zero")),
    split="aaaa",
    chosen="good",
    bootstrap=BootstrapSpec(replicates=30),
)
SPANS = TABLE.with_columns(good_low=pl.col("good") * 0.5, good_high=pl.col("good") * 1.5)
COVERAGE = coverage_table(SPANS, spec=ConformalSpec(pred="good", truth="spend"))
BOUGHT = (TRUTH > 0).astype(float)
CHARTS = {
    "decile": decile_chart(decile_table(TRUTH, PRED), unit="$"),
    "gain": gain_chart(TRUTH, {"Good": PRED}),
    "reliability": reliability_chart({"Good": calibration_table(BOUGHT, np.clip(PRED / 100, 0, 1))}),
    "interval": interval_chart(SCORES, metric="mae", labels={"good": "A good model with a long name"}),
    "histogram": histogram_chart(PRED, label="Predicted spend", unit="$"),
    "ecdf": ecdf_chart({"Predicted": PRED, "Actual": TRUTH}, label="Spend"),
    "coverage": coverage_chart(COVERAGE, level=0.8),
}


def whole_report() -> Report:
    return Report(
        "What users will spend",
        subtitle="A **test**",
        parts=(
            Cards((Card("MAE", "12.3", "95 % interval 11 – 14"), Card("Gini", "0.86"))),
            Heading("Models", lead="All of them."),
            Prose("One.\n\nTwo."),
            scores_part(SCORES, title="Scores", caption="● is best."),
            SideBySide(tuple(Chart(figure, name, caption="c", how_to_read="h") for name, figure in CHARTS.items())),
            Callout("Mind the gap.", tone="warning"),
            settings_part(BootstrapSpec()),
        ),
    )


class Page(HTMLParser):
    """The page as a browser sees it: elements, their attributes, balanced tags."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing():
    html = whole_report().html()
    page = Page(html)
    assert [attrs for tag, attrs in page.elements if {"src", "srcset"} & set(attrs) or tag in ("link", "iframe")] == []
    assert all(str(attrs["href"]).startswith("#") for _, attrs in page.elements if "href" in attrs)
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_plotly_is_inlined_once_and_only_where_there_is_a_chart():
    assert whole_report().html().count("plotly.js v") == 1
    assert "plotly.js" not in Report("Short", parts=(Prose("Nothing to draw."),)).html()
    assert len(Report("Short").html()) < 20_000


def test_every_chart_has_its_own_place_and_readable_data():
    html = whole_report().html()
    data = re.findall(r'<script type="application/json" data-for="(.+?)">(.+?)</script>', html, re.DOTALL)
    assert [name for name, _ in data] == [f"chart-{n}" for n in range(1, 8)]
    assert all(set(json.loads(text)) == {"data", "layout"} for _, text in data)
    assert all(f'id="chart-{n}"' in html for n in range(1, 8))


def test_the_same_parts_give_the_same_bytes(tmp_path):
    whole_report().write(tmp_path / "a" / "report.html")
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8") == whole_report().html()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["report.html"]


def test_text_from_outside_cannot_become_markup():
    evil = "</script><script>alert(1)</script>"
    parts = (
        Heading(evil),
        Prose(evil),
        Callout(evil),
        Cards((Card(evil, evil, evil),)),
        Table([{"name": evil}], title=evil, caption=evil),
        Chart(gain_chart(TRUTH, {evil: PRED}), evil, caption=evil),
        Folded(evil, parts=(Prose(evil),)),
    )
    html = Report(evil, subtitle=evil, parts=parts).html()
    Page(html)
    assert "<script>alert" not in html


def test_prose_knows_bold_code_and_paragraphs():
    html = Report("t", parts=(Prose("a **b** `c_d`\n\n<e>"),)).html()
    assert "<p>a <strong>b</strong> <code>c_d</code></p>" in html
    assert "<p>&lt;e&gt;</p>" in html


def test_contents_are_listed_once_there_are_three_headings():
    two, three = (Report("t", parts=tuple(Heading(f"Part {n}") for n in range(count))).html() for count in (2, 3))
    assert "<nav" not in two
    assert '<a href="#part-2">Part 2</a>' in three
    assert '<h2 id="part-2">' in three


def test_a_table_marks_the_best_and_the_chosen_and_shows_intervals():
    html = Report("t", parts=(scores_part(SCORES, metrics=("mae", "bias"), labels={"good": "Good one"}),)).html()
    row = next(row for row in re.findall(r"<tr.*?</tr>", html, re.DOTALL) if "Good one" in row)
    mae = SCORES.models["good"]["mae"]
    assert 'class="marked"' in row
    assert ">chosen<" in row
    assert f'best"><span class="v">{number_text(mae.value)}</span>' in row
    assert f'<span class="range">{range_text(mae)}</span>' in row


def test_equal_best_values_are_all_marked_and_a_lone_row_none():
    column = Column("x", better="low")
    html = Report("t", parts=(Table([{"x": 1}, {"x": 1}, {"x": 2}, {"x": None}], columns=(column,)),)).html()
    assert html.count("num best") == 2
    assert Report("t", parts=(Table([{"x": 1}], columns=(column,)),)).html().count("num best") == 0


def test_cells_of_every_type_are_readable():
    row = {
        "text": "a",
        "day": date(2024, 1, 2),
        "none": None,
        "money": Decimal("1234.50"),
        "flag": True,
        "nan": float("nan"),
    }
    html = Report("t", parts=(Table([row]),)).html()
    for shown in (">a<", ">2024-01-02<", ">–<", ">1,234<", ">True<"):
        assert shown in html, shown


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (1234567.8, {}, "1,234,568"),
        (172.34, {}, "172.3"),
        (0.8571, {}, "0.857"),
        (-0.0004, {"digits": 2}, "0.00"),
        (-3.5, {"unit": "$"}, "−$3.50"),
        (0.032, {"style": "change"}, "+3.2\u202f%"),
        (0.0, {"style": "change"}, "0.0\u202f%"),
        (0.5, {"style": "percent", "digits": 0}, "50\u202f%"),
        (3.3549, {"style": "times", "digits": 1}, "3.4×"),
        (None, {}, "–"),
        (float("inf"), {}, "–"),
    ],
)
def test_numbers_read_as_people_write_them(value, options, text):
    assert number_text(value, **options) == text


def test_ranges_never_put_a_dash_before_a_minus():
    assert range_text(Interval(value=0, low=-2, high=-1)) == "−2 to −1"
    assert range_text(Interval(value=0, low=1.5, high=2), style="times", digits=1) == "1.5 – 2.0×"
    assert range_text(Interval(value=None, low=None, high=None)) == ""
    assert interval_note(Interval(value=None, low=None, high=None)) == ""
    assert digits_for([999.94]) == 1


def test_the_interval_chart_has_the_best_on_top_and_the_chosen_in_colour():
    traces = CHARTS["interval"].data
    assert [trace.y[0] for trace in traces] == ["zero", "A good model with a<br>long name"]
    assert [trace.marker.color for trace in traces] == [COLORS["other"], COLORS["accent"]]


def test_the_gain_chart_names_the_gini_and_stays_small():
    big = RNG.lognormal(size=50_000)
    figure = gain_chart(big, {"Good": big})
    assert figure.data[1].name == "Good (Gini 1.000)"
    assert all(len(trace.x) <= 1_100 for trace in figure.data)


def test_the_histogram_counts_every_user():
    assert sum(CHARTS["histogram"].data[0].y) == 300


def contrast(color: str, paper: str) -> float:
    """The contrast ratio of WCAG 2.1."""

    def luminance(text: str) -> float:
        parts = (int(text[at : at + 2], 16) / 255 for at in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    light, dark = sorted((luminance(color), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("color", ["ink", "muted", "accent", "good", "warning"])
@pytest.mark.parametrize("paper", ["page", "paper", "accent_soft"])
def test_text_can_be_read_on_every_background(color, paper):
    assert contrast(COLORS[color], COLORS[paper]) >= 4.5


def test_lines_can_be_seen_on_paper():
    assert min(contrast(color, COLORS["paper"]) for color in CATEGORICAL) >= 2.3


def test_faults_say_what_and_how_to_mend():
    with pytest.raises(BadInput, match=r"Report needs a title: Report\('What users are worth'"):
        Report(" ")
    with pytest.raises(BadInput, match=r"Table has neither rows nor columns\. Say in a Callout why"):
        Table([])
    with pytest.raises(MissingColumn, match=r"evaluate\.Table needs column 'spent'; the table has \['spend'\]"):
        Table([{"spend": 1}], columns=(Column("spent"),))
    with pytest.raises(BadInput, match=r"a value task has no metrics \['auc'\]; it has"):
        scores_part(SCORES, metrics=("auc",))
    with pytest.raises(BadInput, match="ltv_90 has no metric 'auc'"):
        interval_chart(SCORES, metric="auc")
    with pytest.raises(MissingColumn, match="decile_chart needs columns"):
        decile_chart(pl.DataFrame({"x": [1]}))


def test_heavy_libraries_wait_until_they_are_used():
    code = (
        "import sys, sojourn.evaluate as e; e.value_metrics([1, 2], [1, 2]);"
        "print([m for m in ('sklearn', 'scipy', 'plotly', 'jinja2', 'pandas', 'lightgbm') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
