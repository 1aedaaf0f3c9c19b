"""Who is helped and who is not: the effect on each user, learned where there is something to learn."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from sojourn.core import Estimator, UnreadableSource
from sojourn.effects._covariates import Covariates, Scales
from sojourn.effects._learners import Chosen, Effect, Lesson, Linear, learn_effect
from sojourn.effects._log import Decisions, Floats, Ints, covariate_columns, decisions, keys_of
from sojourn.effects._outcomes import arm_scores, paired_outcomes
from sojourn.effects._trees import Binned, Trees, rows_of, user_groups
from sojourn.effects.spec import SCORE, UPLIFT, UpliftSpec
from sojourn.evaluate.scores import write_whole

FILE = "model.json"


class Uplift(Estimator):
    """The effect of each arm on each row's outcome: `uplift_<arm>`, in units of the outcome.

    Doubly robust scores of cross-fitted outcome models are regressed on the covariates (the DR-learner of Kennedy 2023,
    weighted by the overlap of the two arms as in the R-learner of Nie and Wager 2021). Departures: the candidates are a
    ridge regression and trees at several strengths beside the constant effect; the one with the least R-loss on groups
    of users held out is taken, its spread shrunk by the slope found there (the best linear predictor of Chernozhukov et
    al. 2018), and only if that slope is `spec.evidence` standard errors from zero. Else everybody gets the average.

    Learned: `modifiers_`, `arms_`, `effects_`, `chosen_` ({arm: what was chosen, and why}), and `held_out_` (after
    `fit` only, not saved): for each row `fold`, `uplift_<arm>` by models that have seen no outcome of its group of
    users at any stage, `score_<arm>` to judge them with, and `chosen_<arm>`, the learner taken for its fold.

    Raises `MissingColumn`, `EmptyInput`, `BadInput` as `average_effects` does.
    """

    modifiers_: Covariates
    arms_: tuple[str, ...]
    effects_: dict[str, Effect]
    chosen_: dict[str, dict[str, Any]]
    held_out_: pl.DataFrame

    def __init__(self, spec: UpliftSpec | None = None) -> None:
        self.spec: UpliftSpec = spec or UpliftSpec()

    def fit(self, table: pl.DataFrame) -> Self:
        """Learn from a campaign log; rows without an outcome are left out."""
        where = "effects.Uplift.fit"
        log = decisions(table, spec=self.spec, where=where)
        covariates = covariate_columns(log.table, spec=self.spec)
        binned = _binned(Covariates.learn(log.table, columns=covariates, where=where), log, self.spec, where)
        group = user_groups(log.user, groups=self.spec.groups, seed=self.spec.seed)
        expected = paired_outcomes(log, binned=binned, group=group, spec=self.spec)
        modifiers = Covariates.learn(log.table, columns=self.spec.modifiers or covariates, where=where)
        lab = Laboratory(log, _binned(modifiers, log, self.spec, where), group, expected, self.spec)
        self.modifiers_, self.arms_ = modifiers, log.arms
        self.effects_, self.chosen_ = {}, {}
        for arm, name in enumerate(log.arms[1:], start=1):
            self.effects_[name], chosen = lab.effect(arm, without=None)
            self.chosen_[name] = chosen.to_dict()
        self.held_out_ = lab.held_out()
        return self

    def predict(self, table: pl.DataFrame) -> pl.DataFrame:
        """The keys and `uplift_<arm>` for each arm, in the order of the table."""
        self.check_fitted("effects_")
        codes = self.modifiers_.codes(table, where="effects.Uplift.predict")
        said = {f"{UPLIFT}{name}": pl.Series(effect(codes)) for name, effect in self.effects_.items()}
        return table.select(keys_of(table)).with_columns(**said)

    def save(self, path: Path) -> None:
        """Write `model.json`, and `trees_<n>.txt` for each arm that has trees, into the folder `path`."""
        self.check_fitted("effects_")
        learned = {
            "modifiers": self.modifiers_.to_dict(),
            "arms": list(self.arms_),
            "chosen": self.chosen_,
            "effects": {name: _plain(effect) for name, effect in self.effects_.items()},
        }
        for at, effect in enumerate(self.effects_.values()):
            if isinstance(effect.model, Trees) and effect.model.booster is not None:
                text = effect.model.booster.model_to_string(num_iteration=effect.model.rounds)
                write_whole(path / f"trees_{at}.txt", text)
        whole = {"model": "Uplift", "spec": self.spec.model_dump(mode="json"), "learned": learned}
        write_whole(path / FILE, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """The model that `save` wrote. Raises `UnreadableSource`."""
        try:
            whole = json.loads((path / FILE).read_text(encoding="utf-8"))
            spec, learned = whole["spec"], whole["learned"]
            model = cls(UpliftSpec(**spec))
            model.modifiers_ = Covariates.from_dict(learned["modifiers"])
            model.arms_, model.chosen_ = tuple(learned["arms"]), learned["chosen"]
            plain = learned["effects"].items()
            model.effects_ = {
                name: _effect(values, path / f"trees_{at}.txt") for at, (name, values) in enumerate(plain)
            }
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise UnreadableSource(
                f"effects.Uplift.load: {path} holds no saved model ({fault}). Save one first: model.save(path)"
            ) from fault
        return model


@dataclass(frozen=True)
class Laboratory:
    """One fit of `Uplift`: the log, its modifiers, its groups, and expected outcomes that leave out two groups."""

    log: Decisions
    binned: Binned
    group: Ints
    expected: Floats
    spec: UpliftSpec

    def effect(self, arm: int, *, without: int | None) -> tuple[Effect, Chosen]:
        """The effect of an arm, learned from all rows of the two arms but those of one group."""
        mine = self.log.got(arm) | self.log.got(0)
        rows = np.flatnonzero(mine)
        if without is not None:
            rows = np.intersect1d(rows, rows_of(self.group, without=[without]))
        lesson = self._lesson(arm, without)
        return learn_effect(lesson, rows=rows, group=self.group, binned=self.binned, spec=self.spec)

    def held_out(self) -> pl.DataFrame:
        """Each row's effect by models that know nothing of its group, and the scores to judge them with."""
        log, columns = self.log, {"fold": pl.Series(self.group)}
        scores = arm_scores(log, self._expected(None))
        for arm, name in enumerate(log.arms[1:], start=1):
            said, learners = np.zeros(len(self.group)), np.empty(len(self.group), dtype=object)
            for fold in range(self.spec.groups):
                mine = self.group == fold
                effect, chosen = self.effect(arm, without=fold)
                said[mine], learners[mine] = effect(self.binned.codes[mine]), chosen.learner
            columns[f"{UPLIFT}{name}"] = pl.Series(said)
            columns[f"{SCORE}{name}"] = pl.Series(scores[:, arm] - scores[:, 0])
            columns[f"chosen_{name}"] = pl.Series(learners.tolist(), dtype=pl.String)
        return log.table.select(keys_of(log.table)).with_columns(**columns)

    def _expected(self, without: int | None) -> Floats:
        """Expected outcomes (rows, arms) that know neither a row's own group nor this one."""
        if without is None:
            return np.asarray(self.expected[np.arange(len(self.group)), self.group])
        return np.asarray(self.expected[:, without])

    def _lesson(self, arm: int, without: int | None) -> Lesson:
        log = self.log
        chances = log.propensity[:, [0, arm]]
        return Lesson.of(
            outcome=log.outcome,
            treated=log.got(arm).astype(np.float64),
            share=chances[:, 1] / chances.sum(axis=1),
            expected=self._expected(without)[:, [0, arm]],
            user=log.user,
        )


def _binned(known: Covariates, log: Decisions, spec: UpliftSpec, where: str) -> Binned:
    return Binned(known.codes(log.table, where=where), known.categorical, spec.seed)


def _plain(effect: Effect) -> dict[str, Any]:
    values: dict[str, Any] = {"average": effect.average, "middle": effect.middle, "shrink": effect.shrink}
    if isinstance(effect.model, Trees):
        return {**values, "kind": "trees", "base": effect.model.base}
    if isinstance(effect.model, Linear):
        scales = effect.model.scales
        return {
            **values,
            "kind": "linear",
            "base": effect.model.base,
            "slopes": effect.model.slopes.tolist(),
            "scales": [scales.middle.tolist(), scales.spread.tolist(), [list(pair) for pair in scales.levels]],
        }
    return {**values, "kind": "constant"}


def _effect(values: dict[str, Any], trees: Path) -> Effect:
    model: Linear | Trees | None = None
    if values["kind"] == "trees":
        from lightgbm import Booster

        model = Trees(values["base"], Booster(model_str=trees.read_text(encoding="utf-8")) if trees.exists() else None)
    elif values["kind"] == "linear":
        middle, spread, levels = values["scales"]
        scales = Scales(np.asarray(middle), np.asarray(spread), tuple((at, code) for at, code in levels))
        model = Linear(scales, values["base"], np.asarray(values["slopes"]))
    return Effect(values["average"], values["middle"], values["shrink"], model)
