"""Duet: from sheets of recordings (mouse ultrasound and spikes) to maps of latents, frequency bands and neurons."""

from snakemake.utils import min_version

min_version("9.10")


configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/map.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        "results/check.tsv",
        "results/report.html",
        TABLE_FILES,
        RECOVERY,
