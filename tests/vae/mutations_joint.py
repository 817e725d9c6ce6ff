"""Faults that the tests must notice; run_mutations.py plants them."""

TESTS = ["test_joint.py", "test_jmvae.py", "test_telbo.py", "-k", "not training_reaches"]
MUTATIONS = [
    ("if own[part].requires_grad:", "if True:", "what is frozen is overwritten"),
    ("own[part].copy_(learnt)", "learnt.copy_(own[part])", "the wrong way round"),
    ("trunk.absent().expand", "0 * trunk.absent().expand", "no features for what is absent"),
    ("rows = experts.present.all(0)", "rows = experts.present.any(0)", "joint encoder for rows that lack data"),
    ("if len(rows):", "if False:", "the joint encoder is not asked"),
    ("= product_of_posteriors(experts.means", "= product_of_posteriors(2 * experts.means", "wrong mean"),
    (
        "for name in self.modalities if name in given",
        "for name in self.modalities if name in batch.data",
        "unseen data",
    ),
    ("session=batch.session, generator", "session=None, generator", "not the session's weights"),
    ("apart.index_copy(0, rows", "apart.index_copy(0, rows.flip(0)", "rows in the wrong order"),
    (
        "self.mix(torch.cat(features, -1))",
        "self.mix(torch.cat(features[:1] * len(features), -1))",
        "one modality twice",
    ),
]
