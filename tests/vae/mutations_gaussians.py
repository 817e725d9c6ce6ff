"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_gaussians.py", "test_joint.py"]
MUTATIONS = [
    ("torch.expm1(log_variance) - log_variance)", "torch.exp(log_variance) - log_variance)", "no -1 in the KL"),
    ("0.5 * (mean**2 +", "0.5 * (mean +", "the mean of the KL is not squared"),
    ("torch.exp(-log_variance_p) +", "torch.exp(-log_variance_q) +", "the other variance in the KL"),
    ("log_variance_q - log_variance_p", "log_variance_p - log_variance_q", "KL in the other direction"),
    ("math.log(2 * math.pi)", "math.log(math.pi)", "density that does not integrate to one"),
    ("if prior_expert else ~present.any(0)", "if prior_expert else torch.zeros_like(present[0])", "no expert at all"),
    (".clamp(min=0).sum(0)", ".sum(0)", "a wide posterior takes precision away"),
    ("torch.exp(-largest).masked_fill(~with_prior, 0)", "with_prior", "the prior in the wrong unit"),
    ("-largest - torch.log(total)", "-torch.log(total)", "precisions in a unit that is forgotten"),
    ("torch.where(with_prior, largest.clamp(min=0), largest)", "largest", "wide experts overflow beside the prior"),
    (".masked_fill(~present, 0)) * present", ".masked_fill(~present, 0))", "absent experts have a say"),
    ("torch.where(single, means.sum(0), mean)", "mean", "one wide expert is not itself"),
    ("-torch.log1p(total))", "-torch.log(total))", "the prior is not counted"),
]
