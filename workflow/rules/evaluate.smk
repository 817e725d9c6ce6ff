rule baselines:
    input:
        clips=every_session("clips.nc"),
        truth=TRUTH or [],
    output:
        "results/models/baselines/metrics.parquet",
    log:
        "results/logs/baselines.log",
    benchmark:
        "results/benchmarks/baselines.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(3000, times_input=6),
        runtime=minutes(120),
    params:
        settings=choices("baselines"),
        code=code("baselines"),
        truth=["--truth", TRUTH] if TRUTH else [],
    shell:
        "duet baselines --config {params.settings:q} --clips {input.clips:q} {params.truth:q} --out {output:q} "
        "> {log:q} 2>&1 || shown {log:q}"


rule evaluate:
    input:
        model="results/models/{family}-k{latent_dim}/seed{seed}/model.pt",
        clips=every_session("clips.nc"),
        truth=TRUTH or [],
    output:
        metrics="results/models/{family}-k{latent_dim}/seed{seed}/metrics.parquet",
        traversal="results/models/{family}-k{latent_dim}/seed{seed}/traversal.nc",
        examples="results/models/{family}-k{latent_dim}/seed{seed}/examples.nc",
    log:
        "results/logs/evaluate/{family}-k{latent_dim}-seed{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{family}-k{latent_dim}-seed{seed}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(3000, times_input=6),
        runtime=minutes(120),
    params:
        settings=choices("evaluate"),
        code=code("evaluate"),
        truth=["--truth", TRUTH] if TRUTH else [],
    shell:
        "duet evaluate --config {params.settings:q} --model {input.model:q} --clips {input.clips:q} {params.truth:q} "
        "--out {output.metrics:q} --traversal-out {output.traversal:q} --examples-out {output.examples:q} "
        "> {log:q} 2>&1 || shown {log:q}"
