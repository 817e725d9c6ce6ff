rule report:
    input:
        sheet=ancient(SHEET),
        tables=[*TABLE_FILES, *RECOVERY],
        summary="results/tables/summary.json",
        prepared=[every_session(n) for n in ("spectrogram.nc", "calls.parquet", "counts.nc", "clips.nc", "tuning.nc")],
        models=[every_model(name) for name in ("history.csv", "metrics.parquet", "traversal.nc", "examples.nc")],
        baselines="results/models/baselines/metrics.parquet",
    output:
        page=report("results/report.html", category="Report", caption="../report/report.rst"),
        figures=report(
            directory("results/figures"),
            patterns=["{figure}.svg"],
            category="Figures",
            caption="../report/figures.rst",
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(3000, times_input=2),
        runtime=minutes(60),
    params:
        settings=choices("report"),
        code=code("report"),
        rows=rows(),
        tables=subpath(input.summary, parent=True),
        prepared=lambda wildcards, input: os.path.dirname(os.path.dirname(input.prepared[0])),
        models=subpath(input.baselines, ancestor=2),
    shell:
        "duet report --config {params.settings:q} --sheet {input.sheet:q} --tables {params.tables:q} "
        "--prepared {params.prepared:q} --models {params.models:q} --out {output.page:q} --figures {output.figures:q} "
        "> {log:q} 2>&1 || shown {log:q}"
