"""The figures of the report: one file a figure, named by its stem.

A figure's file holds a docstring (first line: the title; the rest: the caption), `PLACE` (its order in the report)
and `draw(results) -> Figure`, which raises NoData, with the reason, where the run has nothing to show.
"""
