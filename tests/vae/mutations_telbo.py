"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_telbo.py", "test_joint.py", "-k", "not training_reaches"]  # which takes seconds
MUTATIONS = [
    ("before < self.joint_share <= now", "self.joint_share <= now", "starts stage two again and again"),
    (' - beta * terms["kl"]', "", "no joint KL"),
    ('- beta * terms["kl"]', '+ beta * terms["kl"]', "joint KL with the wrong sign"),
    (' - beta * terms[f"kl_{name}"]', "", "no unimodal KL"),
    ('beta * terms[f"kl_{name}"]', 'terms[f"kl_{name}"]', "unimodal KL without beta"),
    (
        'terms[f"kl_{name}"] = kl_to_standard_normal(mean, log_variance)',
        'terms[f"kl_{name}"] = kl_to_standard_normal(mean, experts.log_variances[0])',
        "another posterior's variance in the KL",
    ),
    ("self.gammas[name] * ", "", "no gammas"),
    ("self.gammas[name]", "self.modalities[name].weight", "lambdas for gammas"),
    (
        "self.weighted({name: terms[name] for name in self.modalities})",
        "sum(terms[n] for n in self.modalities)",
        "lambdas",
    ),
    ("scale * (joint.value", "(joint.value", "unpaired rows weigh less"),
    ("n_bounds = present.sum(0) + present.all(0)", "n_bounds = present.sum(0)", "wrong number of bounds"),
    ("rows = present.all(0).nonzero()", "rows = present.any(0).nonzero()", "a joint bound of unpaired rows"),
    (
        "with frozen(p for modality in self.modalities.values() for p in modality.decoder.parameters()):",
        "if True:",
        "decoders learn in stage two",
    ),
    ("if parameter.requires_grad]", "]", "what was frozen before learns"),
    ("parameter.requires_grad_(True)", "pass", "decoders never learn again"),
    ("    try:\n        yield\n    finally:\n", "    if True:\n        yield\n", "an error leaves decoders frozen"),
    ("            if step < self.joint_share:", "            if step > self.joint_share:", "stages in the wrong order"),
    ("step > self.joint_share", "step >= self.joint_share", "the best epoch may be of stage one"),
    ("return present.all(0) & (len(present) > 1)", "return present.any(0)", "unpaired rows in stage one"),
    ("present.all(0) & (len(present) > 1)", "present.all(0)", "one modality counts as paired"),
    ("self.stages == 2 and step < self.joint_share", "step < self.joint_share", "`stages: 1` waits for pairs"),
    (
        "return Objective(scale * (joint.value + single.value)",
        "return Objective(scale * joint.value",
        "one stage, one bound",
    ),
]
