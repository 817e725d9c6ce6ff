"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_families.py", "test_base.py", "-k", "mopoe"]
MUTATIONS = [
    (" - self.beta_at(step) * kl", "", "no KL"),
    ("- self.beta_at(step) * kl", "+ self.beta_at(step) * kl", "KL with the wrong sign"),
    ("self.beta_at(step) * kl", "self.beta * kl", "no warm-up"),
    ("kl = (shares * kl_to", "kl = (q.present * kl_to", "the KLs' sum instead of their mean"),
    ("kl_to_standard_normal(q.means, q.log_variances)", "kl_to_standard_normal(q.means, 2 * q.log_variances)", "SD"),
    ("self.weighted(found)", "sum(found.values())", "without the weights"),
    ("0.5 * q.log_variances", "q.log_variances", "variance for SD"),
    ("{name: (shares * value).sum(0)", "{name: value.mean(0)", "absent subsets count"),
    ('self.prior_expert == "full" and bool(chosen.all())', 'self.prior_expert == "full"', "the prior in all"),
    ('self.prior_expert == "always" or', "", "`always` is `never`"),
    (
        "has_all = (experts.present | ~chosen.unsqueeze(1)).all(0)",
        "has_all = experts.present.any(0)",
        "subsets of none",
    ),
    ("range(1, 2**n_modalities)", "range(1, 2**n_modalities - 1)", "no product of all"),
    ("z = q.rsample(1, generator)[0]", "z = q.mean", "the mean instead of a sample"),
    ("z = q.rsample(1, generator)[0]", "z = q.rsample(1, generator)[0].detach()", "no gradient through the sample"),
    ("experts.mask(members), prior_expert=with_prior", "experts.mask(members), prior_expert=False", "no prior at all"),
]
