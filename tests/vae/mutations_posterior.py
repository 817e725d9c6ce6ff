"""Faults planted in pipeline/vae/posterior.py, each of which its tests must notice."""

TESTS = ["test_posterior.py", "test_base.py"]
MUTATIONS = [
    ("torch.exp(-0.5 * log_variances)  # (", "torch.exp(-log_variances)  # (", "variance for SD in the density"),
    ("-math.sqrt(2) * distance.abs()", "-distance.abs()", "Laplace scale"),
    ("- 0.5 * (log_variances + math.log(2))", "- 0.5 * log_variances", "Laplace normaliser"),
    ("(pair[0] - pair[1]) / math.sqrt(2)", "pair[0] - pair[1]", "Laplace draws of variance 2"),
    ("each.masked_fill(~self.present, -math.inf), -2) - count.log()", "each, -2) - count.log()", "absent components"),
    ("-math.inf), -2) - count.log()", "-math.inf), -2)", "mixture shares"),
    ("mean + torch.exp(0.5 * log_variance) * noise", "mean + torch.exp(log_variance) * noise", "variance for SD"),
    ("* counts).long()", "* len(counts)).long()", "samples spread over too many components"),
    ("- log_ratio - 1", "- log_ratio", "constant of the Laplace KL"),
    (
        "torch.exp(log_ratio - distance / scale_q)",
        "torch.exp(log_ratio - distance / scale_p)",
        "scale in the KL",
    ),
    ("+ (self.means - self.mean) ** 2", "", "variance between components"),
]
