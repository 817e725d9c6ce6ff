if SIMULATED:

    rule simulate:
        output:
            recordings=[shortest(f) for s in sessions.values() for f in files_of(s) if f.is_relative_to(SIMULATED)],
            truth=TRUTH,
        log:
            "results/logs/simulate.log",
        benchmark:
            "results/benchmarks/simulate.tsv"
        conda:
            ENVIRONMENT
        threads: 2
        resources:
            mem_mb=memory(2000),
            runtime=minutes(30),
        params:
            settings=choices("simulate"),
            code=code("simulate"),
            folder=subpath(output.truth, parent=True),
        shell:
            "duet simulate --config {params.settings:q} --out-dir {params.folder:q} > {log:q} 2>&1 || shown {log:q}"
