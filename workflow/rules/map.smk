rule map:
    input:
        sheet=ancient(SHEET),
        models=every_model("model.pt"),
        latents=every_model("latents.parquet"),
        metrics=[*every_model("metrics.parquet"), "results/models/baselines/metrics.parquet"],
        clips=every_session("clips.nc"),
        tunings=every_session("tuning.nc"),
        units=every_session("units.parquet"),
    output:
        report(expand("results/tables/{table}.csv", table=TABLES), category="Tables", caption="../report/tables.rst"),
        expand("results/tables/{table}.parquet", table=TABLES),
        "results/tables/summary.json",
    log:
        "results/logs/map.log",
    benchmark:
        "results/benchmarks/map.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(4000, times_input=6),
        runtime=minutes(240),
    params:
        settings=choices("map"),
        code=code("map"),
        rows=rows(),
        out_dir=subpath(output[0], parent=True),
        stale="results/tables/recovery.csv",  # of simulated sessions that the sheet no longer names
    shell:
        "rm -f {params.stale:q}; "
        "duet map --config {params.settings:q} --sheet {input.sheet:q} --models {input.models:q} "
        "--latents {input.latents:q} --metrics {input.metrics:q} --clips {input.clips:q} "
        "--tunings {input.tunings:q} --units {input.units:q} --out-dir {params.out_dir:q} "
        "> {log:q} 2>&1 || shown {log:q}"


if SIMULATED:

    rule score:
        input:
            truth=TRUTH,
            tables=TABLE_FILES,
            summary="results/tables/summary.json",
        output:
            report("results/tables/recovery.csv", category="Tables", caption="../report/tables.rst"),
        log:
            "results/logs/score.log",
        benchmark:
            "results/benchmarks/score.tsv"
        localrule: True
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=memory(1000),
            runtime=minutes(15),
        params:
            settings=choices("score"),
            code=code("score"),
            tables=subpath(input.summary, parent=True),
        shell:
            "duet score --config {params.settings:q} --truth {input.truth:q} --tables {params.tables:q} "
            "--out {output:q} > {log:q} 2>&1 || shown {log:q}"
