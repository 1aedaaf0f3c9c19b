"""Days that models have seen: what they say of them proves nothing, and is not told as if it did."""

from datetime import date
from typing import Literal

from sojourn.core import BadInput, say
from sojourn.lifetime.forecast import Lifetime
from sojourn.lifetime.log_end import log_days
from sojourn.warehouse import Warehouse

Seen = Literal["refuse", "warn"]


def need_unseen(warehouse: Warehouse, model: Lifetime, *, as_of: date, where: str, seen: Seen) -> None:
    """Raise `BadInput` for a day that the models have learned the future of, or with `warn` say so on stderr.

    As `evaluate_model` has it. No model has seen more than the log holds: from its last day on every day is unseen.
    """
    if as_of >= min(model.known_until, log_days(warehouse)[1]):
        return
    told = (
        f"the models have seen everything before {model.known_until}, so what they say of users as of {as_of} is no "
        "forecast and would flatter them"
    )
    if seen == "warn":
        say(f"A replay: {told}.")
        return
    raise BadInput(
        f"{where}: {told}. Fit with less: sojourn ltv fit --as-of {as_of}. If it is a replay that you want, say so: "
        "--replay (in Python seen='warn')"
    )
