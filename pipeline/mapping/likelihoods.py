"""What a log-likelihood is held against: the same model without the other modality, or VAEs of one modality each."""

from typing import NamedTuple

import numpy as np

from pipeline.evaluation.scores import Ratio

OWN = "own marginal"
APART = "unimodal"
PREFIX = "log_likelihood:"


class Measure(NamedTuple):
    """One log-likelihood of one model; `given` and, of a joint one, `target` are modalities joined by +."""

    objective: str
    latent_dim: int
    metric: str
    target: str
    given: str

    @classmethod
    def of(cls, row: tuple) -> "Measure":
        """From a row of a table, as `itertuples` gives it."""
        return cls(*(getattr(row, name) for name in cls._fields))


def likelihood_rival(measure: Measure, known: dict[Measure, Ratio]) -> tuple[str, Ratio | None]:
    """The name of what the measure is held against and its score among `known`, of one seed and split.

    Conditional and predictive, of a modality inferred from others: the model's own marginal of it, so that the
    difference is what the others tell. The joint, and the marginal of a modality inferred from itself: the sum of the
    unimodal family's marginals, so that the difference is what learning together gains. Others: "", None.
    """
    kind, targets = measure.metric.removeprefix(PREFIX), measure.target.split("+")
    if not measure.metric.startswith(PREFIX):
        return "", None
    if kind in ("conditional", "predictive"):
        name, objective = OWN, measure.objective
    elif kind in ("marginal", "joint") and measure.objective != APART and measure.target == measure.given:
        name, objective = APART, APART
    else:
        return "", None
    marginals = [known.get(Measure(objective, measure.latent_dim, f"{PREFIX}marginal", t, t)) for t in targets]
    if any(score is None for score in marginals):
        return "", None
    first = marginals[0]
    if not all(np.array_equal(score.denominator, first.denominator) for score in marginals):  # of other clips
        return "", None
    return name, Ratio(sum(score.numerator for score in marginals), first.denominator, first.n)
