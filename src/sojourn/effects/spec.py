"""Which columns hold the decision and the outcome, how models of outcomes and of uplift learn: plain settings."""

from typing import Literal

from pydantic import Field, model_validator

from sojourn.core import Spec

OUTCOME = "outcome_"
UPLIFT = "uplift_"
SCORE = "score_"
KEYS = ("user_id", "as_of")

Method = Literal["difference", "cuped", "weighted", "doubly_robust"]
METHODS: tuple[Method, ...] = ("difference", "cuped", "weighted", "doubly_robust")
Learner = Literal["linear", "trees"]


class TreesSpec(Spec):
    """How LightGBM learns: at most `rounds` trees, stopped where users that were held out gain nothing more."""

    rounds: int = Field(default=200, ge=1, le=20_000)
    patience: int = Field(default=15, ge=1)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    leaves: int = Field(default=8, ge=2, le=1024)
    min_leaf_rows: int = Field(default=40, ge=1)
    feature_share: float = Field(default=0.5, gt=0, le=1)
    ridge: float = Field(default=5.0, ge=0)


class EffectSpec(Spec):
    """The columns of a campaign log and how its effects are estimated.

    - `outcome`: what happened after the decision. Every column that begins with `outcome_` is an outcome, never a
      covariate; rows where it is null (the window had not ended) are left out.
    - `treatment`: the arm that the row got, as words, or true and false; `control` is the arm compared with.
    - `propensity`: the column of the probability with which the row was to be treated. With several arms each has a
      column of its own, `<propensity>_<arm>`. None: an experiment with the same chances for all, which are estimated.
    - `covariates`: what was known before the decision (None: all columns that are no key, decision or outcome).
    - `pre_period`: the covariates that CUPED takes (None: the number that goes most with the outcome).
    - `level` of the intervals; `groups` of users that leave each other out; `seed`.

    >>> EffectSpec(outcome="outcome_spend", propensity=None).control
    'control'
    """

    outcome: str = "outcome_active_days"
    treatment: str = "treatment"
    control: str = "control"
    propensity: str | None = "propensity"
    covariates: tuple[str, ...] | None = None
    pre_period: tuple[str, ...] | None = None
    level: float = Field(default=0.95, gt=0, lt=1)
    groups: int = Field(default=5, ge=3, le=20)
    seed: int = Field(default=0, ge=0)
    outcome_trees: TreesSpec = TreesSpec()

    @model_validator(mode="after")
    def _one_column_one_role(self) -> "EffectSpec":
        roles = [*KEYS, self.outcome, self.treatment, *([self.propensity] if self.propensity else [])]
        twice = sorted({name for name in roles if roles.count(name) > 1})
        if twice:
            raise ValueError(
                f"column {twice[0]!r} has two roles; user_id, as_of, outcome, treatment and propensity differ"
            )
        clash = [name for name in (*(self.covariates or ()), *(self.pre_period or ())) if name in roles]
        if clash:
            raise ValueError(f"column {clash[0]!r} cannot be a covariate; it is a key, the decision or the outcome")
        return self


class UpliftSpec(EffectSpec):
    """An `EffectSpec`, and how the effect on each user is learned.

    `modifiers` are the covariates that the effect may depend on (None: all). Outcome models gain from every column; the
    effect is weak beside its noise, so a dozen columns that might change what treating does find more than fifty.

    `learners` are tried beside the constant model, the same effect for all. One is taken only where, on users it has
    not seen, its gain over the constant is at least `evidence` standard errors; its spread is then shrunk to what those
    users bear out.
    """

    modifiers: tuple[str, ...] | None = None
    learners: tuple[Learner, ...] = Field(default=("linear", "trees"), min_length=1)
    evidence: float = Field(default=2.0, ge=0)
    trees: TreesSpec = TreesSpec(rounds=80, learning_rate=0.05, leaves=4, min_leaf_rows=100, ridge=20.0)

    @model_validator(mode="after")
    def _modifiers_are_covariates(self) -> "UpliftSpec":
        roles = (*KEYS, self.outcome, self.treatment, self.propensity)
        wrong = [name for name in self.modifiers or () if name in roles or name.startswith(OUTCOME)]
        if wrong:
            raise ValueError(
                f"the effect cannot depend on column {wrong[0]!r}; it is a key, the decision or an outcome"
            )
        return self


class RankingSpec(Spec):
    """How often users are resampled for the intervals of Qini and its kin, and how many random scores stand beside."""

    replicates: int = Field(default=500, ge=10, le=100_000)
    random_scores: int = Field(default=200, ge=10, le=10_000)
    level: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class PolicySpec(Spec):
    """Whom to treat: what one unit of the outcome is worth, what treating costs, and how much may be spent.

    `value` and `cost` are in the same money; `costs` gives arms a cost of their own. `budget` is for the rows at hand
    (None: no limit).

    >>> PolicySpec(value=0.5, cost=0.02).cost_of("push")
    0.02
    """

    value: float = Field(default=1.0, gt=0)
    cost: float = Field(default=0.0, ge=0)
    costs: dict[str, float] = Field(default_factory=dict)
    budget: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _no_negative_cost(self) -> "PolicySpec":
        wrong = [arm for arm, cost in self.costs.items() if cost < 0]
        if wrong:
            raise ValueError(f"the cost of {wrong[0]!r} is {self.costs[wrong[0]]}; a cost is at least 0")
        return self

    def cost_of(self, arm: str) -> float:
        """What treating one row with this arm costs."""
        return self.costs.get(arm, self.cost)
