"""The network: gradients that are those of the likelihood, horizons that never fall, better than a mean for all."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import lognorm

from sojourn.core import BadInput, MissingColumn, UnreadableSource
from sojourn.evaluate import value_metrics
from sojourn.lifetime import BoostSpec, SequenceValue, SequenceValueSpec
from tests.lifetime.worlds import shop, table_of, with_sequences

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

SPEC = SequenceValueSpec(
    horizons_days=(30, 60), events=12, width=8, epochs=3, boost=BoostSpec(groups=2), learning_rate=0.01
)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    log = shop(3, users=300, days=200)
    return with_sequences(log, table_of(log, horizons_days=(30, 60), step_days=20))


@pytest.fixture(scope="module")
def model(table: pl.DataFrame) -> SequenceValue:
    return SequenceValue(SPEC).fit(table)


def test_the_loss_is_the_likelihood_of_scipy():
    from sojourn.lifetime._sequence_net import spread_of, ziln_loss

    rng = np.random.default_rng(0)
    output = torch.from_numpy(rng.normal(size=(50, 6)).astype(np.float32))
    target = np.where(rng.random((50, 2)) < 0.4, 0.0, rng.lognormal(1, 1, (50, 2)))
    target[:5, 1] = np.nan
    start = rng.normal(size=(50, 2))
    odds, middle, spread = (part.numpy().astype(float) for part in output.chunk(3, dim=1))
    chance, sigma = 1 / (1 + np.exp(-odds)), spread_of(torch.from_numpy(spread)).numpy()
    density = chance * lognorm.pdf(target, s=sigma, scale=np.exp(start + middle))
    # The likelihood of a logarithm is that of the amount times the amount; constants do not count.
    some = -np.log(density * target * np.sqrt(2 * np.pi), where=target > 0, out=np.zeros_like(target))
    slow = np.where(target > 0, some, -np.log(1 - chance))
    found = ziln_loss(output, torch.from_numpy(target.astype(np.float32)), torch.from_numpy(start.astype(np.float32)))
    assert float(found) == pytest.approx(np.nansum(np.where(np.isnan(target), np.nan, slow)) / 95, rel=1e-5)


def test_a_longer_horizon_never_holds_less(model, table):
    found = model.predict(table)
    assert (found["ltv_30"] >= 0).all()
    assert (found["ltv_60"] >= found["ltv_30"]).all()
    assert found.columns == ["user_id", "as_of", "ltv_30", "ltv_60"]


def test_it_ranks_and_sums_better_than_the_same_mean_for_all(model):
    held = model.held_out_
    figures = value_metrics(held["truth"].to_numpy(), held["ltv_60"].to_numpy())
    assert figures["gini"] > 0.6
    assert abs(figures["bias"]) < 0.05


def test_learning_again_gives_the_same_numbers(model, table):
    torch.manual_seed(123)
    before = torch.rand(3)
    torch.manual_seed(123)
    again = SequenceValue(SPEC).fit(table.sample(fraction=1, shuffle=True, seed=1))
    assert_frame_equal(again.predict(table), model.predict(table))
    assert torch.equal(torch.rand(3), before)  # the caller's luck is untouched


def test_saving_and_loading_is_the_identity(model, table, tmp_path):
    model.save(tmp_path)
    assert_frame_equal(SequenceValue.load(tmp_path).predict(table), model.predict(table))
    (tmp_path / "net_1.safetensors").unlink()
    with pytest.raises(UnreadableSource, match=r"net_1\.safetensors is missing"):
        SequenceValue.load(tmp_path)


def test_immature_windows_are_not_zeros(table, model):
    last = table["as_of"].max()
    assert table.filter(pl.col("as_of") == last)["label_spend_60d"].null_count() > 0
    assert model.held_out_["as_of"].max() <= last - timedelta(days=20)


def test_the_rows_of_others_change_nothing(model, table):
    alone = model.predict(table.head(5))
    assert_frame_equal(alone, model.predict(table).head(5), abs_tol=1e-6)


def test_what_is_missing_is_said(table):
    with pytest.raises(MissingColumn, match="seq_event"):
        SequenceValue(SPEC).fit(table.drop("seq_event"))
    with pytest.raises(BadInput, match="empty in all rows"):
        SequenceValue(SPEC).fit(table.with_columns(label_spend_60d=pl.lit(None, dtype=pl.Float64)))
