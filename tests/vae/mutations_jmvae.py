"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_jmvae.py", "-k", "not training_reaches"]  # which takes seconds
MUTATIONS = [
    (" - self.beta_at(step) * kl", "", "no KL"),
    ("- self.beta_at(step) * kl", "+ self.beta_at(step) * kl", "KL with the wrong sign"),
    ("self.beta_at(step) * kl", "self.beta * kl", "no warm-up"),
    ("value - self.alpha * apart", "value - apart", "divergences without alpha"),
    ("value - self.alpha * apart", "value + self.alpha * apart", "divergences with the wrong sign"),
    ("value - self.alpha * apart", "value - self.alpha * apart.detach()", "divergences teach nothing"),
    (
        "apart = kl_divergence(",
        "apart = (lambda a, b, c, d: kl_divergence(c, d, a, b))(",
        "the unimodal posterior first",
    ),
    (
        """                    mean[:, own], log_variance[:, own], experts""",
        """                    mean[:, own].detach(), log_variance[:, own].detach(), experts""",
        "the joint encoder is not pulled",
    ),
    ("experts.log_variances[row][:, own]", "log_variance[:, own]", "the joint variance on both sides"),
    ("own = self.speaks[row]", "own = self.speaks.any(0)", "private latents of the others count"),
    ("kl_to_standard_normal(mean, log_variance)", "kl_to_standard_normal(mean, 2 * log_variance)", "wrong variance"),
    ("self.weighted(terms)", "sum(terms.values())", "without the weights"),
    ("rsample(1, generator)[0]", "mean", "the mean instead of a sample"),
    ("rsample(1, generator)[0]", "rsample(1, generator)[0].detach()", "no gradient through the sample"),
    ("rows = self.presence(batch).all(0)", "rows = self.presence(batch).any(0)", "unpaired rows are trained on"),
    ("moved > SETTLED", "moved > 100", "imputes once"),
    ("rows = rows[moved > SETTLED]", "pass", "never settles"),
    ("name: x.mean for", "name: 0 * x.mean for", "imputes zeros"),
    (
        'if self.variant == "kl":\n            return',
        "if True:\n            return",
        "`zero` infers by unimodal encoders",
    ),
    ("mean.index_copy(0, rows, now)", "mean", "imputation without an effect"),
]
