"""Faults that the tests must notice; run_mutations.py plants them."""

SOURCE = "pipeline/training.py"
TESTS = ["../test_training.py", "-k", "cannot_teach or no_pairs or stages or mean_of_the_last or resumes"]
MUTATIONS = [
    ("rows = rows[model.usable(present, done)]", "pass", "rows that cannot teach are shown"),
    ("if not model.settled(now.epoch / schedule.max_epochs):", "if False:", "the best epoch may be of stage one"),
    ("now.best_epoch = now.epoch  #", "pass  #", "patience runs out in stage one"),
    ("int((~first).sum())", "int(first.sum())", "counts those that are used"),
    ('(split == "train" and not n_first)', "False", "no pairs and no word"),
    ("model.usable(present, 1.0)", "present.any(0)", "unpaired rows are kept"),
    ("validate(averaged.module,", "validate(model,", "single steps are judged"),
    ("in averaged.module.state_dict()", "in model.state_dict()", "single steps are kept"),
    ('averaged.load_state_dict(saved["averaged"])', "pass", "the mean begins anew at a resume"),
    ("float(total) / seen[name]", "float(total) / len(pieces)", "sums for means"),
]
