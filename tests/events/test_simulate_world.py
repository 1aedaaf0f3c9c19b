"""The world's known shares, seen in its log as an analyst would count them: each holds within four standard errors.

The bounds are the world's own design (docs/simulate.md), measured once on ten other seeds with more users.
"""

import polars as pl
import pytest

from sojourn.events import WorldSpec, truth_warehouse
from sojourn.events import _world_numbers as numbers
from tests.events.worlds import simulated

SPEC = WorldSpec(users=8000, days=92, install_days=60, seed=5)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("app"), SPEC)[0]


@pytest.fixture(scope="module")
def portraits(app):
    return app.frame("users").sort("valid_from").unique("user_id", keep="first", maintain_order=True)


@pytest.fixture(scope="module")
def truth(app):
    return truth_warehouse(app).frame("truth_users")


@pytest.fixture(scope="module")
def retention(app):
    log = app.relation("events")
    rows = app.engine.rows(f"""
        WITH installs AS (SELECT user_id, min(day) AS first FROM {log} WHERE event = 'install' GROUP BY ALL),
             active AS (SELECT DISTINCT user_id, day FROM {log} WHERE event = 'launch')
        SELECT n, count(a.user_id) / count(*)
        FROM installs AS i CROSS JOIN generate_series(0, 30) AS days(n)
        LEFT JOIN active AS a ON a.user_id = i.user_id AND a.day = i.first + CAST(n AS INTEGER)
        GROUP BY n ORDER BY n
    """)
    return dict(rows)


def share(app, condition, of):
    sql = f"SELECT count(*) FILTER ({condition}) / count(*) FILTER ({of}) FROM {app.relation('events')}"
    return app.engine.rows(sql)[0][0]


class TestActivity:
    def test_everybody_is_active_on_the_day_of_the_install(self, retention):
        assert retention[0] == 1.0

    @pytest.mark.parametrize(("day", "low", "high"), [(1, 0.31, 0.36), (7, 0.14, 0.18), (30, 0.085, 0.125)])
    def test_retention_is_that_of_a_good_app(self, retention, day, low, high):
        assert low < retention[day] < high

    def test_retention_falls_ever_more_slowly(self, retention):
        assert retention[1] > retention[3] > retention[7] > retention[14] > retention[30]
        assert retention[1] - retention[7] > retention[7] - retention[30]

    def test_half_of_the_installs_are_gone_within_thirty_days(self, truth):
        within = (truth["gone_on"] - truth["installed_on"]).dt.total_days() <= 30
        assert 0.48 < within.fill_null(False).mean() < 0.57

    def test_some_come_back_after_uninstalling(self, app):
        assert 0.06 < share(app, "event = 'reinstall'", "event = 'uninstall'") < 0.12

    def test_sessions_are_short_and_few(self, app):
        median, longest = app.engine.rows(f"SELECT median(duration_s), max(duration_s) FROM {app.relation('events')}")[
            0
        ]
        assert 180 < median < 300
        assert longest < 7200
        assert 1.6 < share(app, "event = 'launch'", "event = 'launch' AND session_no = 1") < 1.9

    def test_kinds_of_people_differ_as_designed(self, truth):
        days = dict(truth.group_by("kind").agg(pl.col("active_days").mean()).iter_rows())
        assert days["fan"] > 1.3 * days["settler"] > 1.3 * days["grazer"] > 1.3 * days["tourist"]


class TestRhythm:
    def test_evenings_are_busy_and_nights_quiet_wherever_people_live(self, app, portraits):
        log = app.relation("events")
        with app.engine.table(portraits.select("user_id", "zone", "country")) as users:
            hours = app.engine.frame(f"""
                SELECT country, hour(timezone(zone, ts)) AS hour, count(*) AS launches
                FROM {log} JOIN {users} USING (user_id) WHERE event = 'launch' GROUP BY ALL
            """)
        for country in ("US", "IN", "JP", "BR"):
            launches = dict(hours.filter(pl.col("country") == country).select("hour", "launches").iter_rows())
            assert sum(launches[hour] for hour in (18, 19, 20)) > 3 * sum(launches.get(hour, 0) for hour in (2, 3, 4))

    def test_week_ends_are_busier(self, app):
        rows = app.engine.rows(f"""
            SELECT dayofweek(day) IN (0, 6), count(*) / count(DISTINCT day) FROM {app.relation("events")}
            WHERE event = 'launch' AND day >= '2025-02-01' GROUP BY 1 ORDER BY 1
        """)
        assert rows[1][1] > 1.03 * rows[0][1]

    def test_levels_last_for_times_that_are_not_geometric(self, app):
        # A geometric law of mean m has a standard deviation of sqrt(m (m - 1)); the dwell times are much steadier.
        from sojourn.events._world_tables import tables

        for row in (1, 2, 3):
            days = tables().dwell[row].astype(float)
            assert days.std() < 0.75 * (days.mean() * (days.mean() - 1)) ** 0.5

    def test_a_known_share_of_sessions_arrives_late(self, app):
        late = share(app, "event = 'launch' AND arrived_at - ts > INTERVAL 1 HOUR", "event = 'launch'")
        assert late == pytest.approx(SPEC.late_share, abs=0.003)


class TestMoney:
    def test_about_ninety_percent_never_pay(self, truth):
        assert 0.085 < (truth["purchases"] > 0).mean() < 0.12

    def test_those_who_would_never_pay_never_do(self, truth):
        assert truth.filter(pl.col("payer") == "never")["purchases"].sum() == 0

    def test_spend_has_a_heavy_tail(self, truth):
        spend = truth.filter(pl.col("purchases") > 0)["spend_usd"].cast(pl.Float64).sort(descending=True)
        top = spend.head(len(spend) // 10).sum() / spend.sum()
        assert 0.42 < top < 0.68
        assert spend.mean() > 2 * spend.median()

    def test_prices_come_from_a_ladder(self, app):
        rows = app.engine.rows(f"SELECT DISTINCT amount FROM {app.relation('events')} WHERE event = 'purchase'")
        assert {int(100 * amount) for (amount,) in rows} == set(numbers.LADDER)

    def test_a_few_percent_of_the_money_goes_back(self, truth):
        assert 0.02 < float(truth["refunds_usd"].sum() / truth["spend_usd"].sum()) < 0.06

    def test_purses_fill_on_paydays(self, app, truth):
        # Those paid on the 25th buy more in the week after it than in the week before.
        paid = truth.filter(pl.col("payday") == "month_25").select("user_id")
        with app.engine.table(paid) as users:
            rows = app.engine.rows(f"""
                SELECT day >= '2025-03-25' AS after, sum(amount)
                FROM {app.relation("events")} SEMI JOIN {users} USING (user_id)
                WHERE event = 'purchase' AND day BETWEEN '2025-03-18' AND '2025-03-31'
                GROUP BY after ORDER BY after
            """)
        assert rows[1][1] > 1.2 * float(rows[0][1])

    def test_channels_bring_people_of_different_worth(self, portraits, truth):
        both = truth.join(portraits, on="user_id").with_columns(spend=pl.col("spend_usd").cast(pl.Float64))
        paying = dict(both.group_by("channel").agg((pl.col("purchases") > 0).mean()).iter_rows())
        assert paying["rewarded_network"] < 0.5 * paying["social_video"] < paying["organic"] < 1.3 * paying["referral"]

    def test_most_carts_are_abandoned(self, app):
        assert 0.60 < 1 - share(app, "event = 'purchase'", "event = 'add_to_cart'") < 0.80


class TestPortraits:
    def test_installs_by_channel_have_the_designed_shares(self, portraits):
        shares = dict(portraits["channel"].value_counts(normalize=True).iter_rows())
        assert shares["organic"] == pytest.approx(0.36, abs=0.03)
        assert shares["social_video"] > numbers.CHANNELS[2].share  # bursts

    def test_opt_in_depends_on_the_system(self, portraits):
        shares = dict(portraits.group_by("os").agg(pl.col("push_opt_in").mean()).iter_rows())
        assert shares["ios"] == pytest.approx(0.56, abs=0.03)
        assert shares["android"] == pytest.approx(0.67, abs=0.03)

    def test_a_fifth_is_held_out_of_pushes(self, portraits):
        held = (portraits["push_group"] == "holdout").mean()
        assert held == pytest.approx(SPEC.push_holdout, abs=0.02)

    def test_comments_are_in_the_users_language(self, app, portraits):
        log = app.relation("events")
        with app.engine.table(portraits.select("user_id", "language")) as users:
            words = app.engine.rows(f"""
                SELECT DISTINCT language, text FROM {log} JOIN {users} USING (user_id) WHERE text IS NOT NULL
            """)
        assert ("ja", "楽しい！") in words
        assert not any(language == "ja" and text.isascii() for language, text in words)

    def test_tastes_decide_what_is_viewed(self, app, truth):
        # The law P(item | user) = taste . appeal, summed over the items of one genre.
        other = truth_warehouse(app)
        tastes = dict(other.frame("truth_tastes").iter_rows())
        appeal = other.frame("truth_items").with_columns(genre=app.frame("items")["genre"])
        seen = app.engine.frame(f"""
            SELECT user_id, item_id, count(*) AS views FROM {app.relation("events")} WHERE event = 'view' GROUP BY ALL
        """).join(truth.select("user_id", "archetype"), on="user_id")
        for archetype in (0, 17, 40):
            views = seen.filter(pl.col("archetype") == archetype).join(appeal, on="item_id")
            calm = appeal.filter(pl.col("genre") == "calm")["appeal"].to_list()
            expected = sum(share * sum(row[g] for row in calm) for g, share in enumerate(tastes[archetype]))
            found = views.filter(pl.col("genre") == "calm")["views"].sum() / views["views"].sum()
            assert found == pytest.approx(expected, abs=0.05)
