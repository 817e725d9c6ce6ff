"""Simulate sessions whose truth is known: song, spikes, two clocks, and truth.json."""

import json
from pathlib import Path

from pipeline.simulation.plan import Plan
from pipeline.simulation.session import simulate_sessions
from pipeline.storage import written_whole

SETTINGS = ("simulation", "seed")


def add_arguments(parser):
    parser.add_argument("--out-dir", help="folder to write to (default: simulation.out_dir of the configuration)")


def run(args, config):
    choices = config.simulation.model_dump()
    out_dir = Path(args.out_dir or choices["out_dir"])
    del choices["out_dir"]
    sessions = {name: choices[name] for name in ("n_sessions", "sessions_per_animal")}
    plan = Plan(**{name: value for name, value in choices.items() if name not in sessions})
    planted = simulate_sessions(out_dir=out_dir, seed=config.seed, plan=plan, n_processes=2, **sessions)
    truth = {"seed": config.seed, "settings": choices, **planted}
    with written_whole(out_dir / "truth.json") as partial:
        partial.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
