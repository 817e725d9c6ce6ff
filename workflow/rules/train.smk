rule train:
    input:
        every_session("clips.nc"),
    output:
        model="results/models/{family}-k{latent_dim}/seed{seed}/model.pt",
        history="results/models/{family}-k{latent_dim}/seed{seed}/history.csv",
    log:
        "results/logs/train/{family}-k{latent_dim}-seed{seed}.log",
    benchmark:
        "results/benchmarks/train/{family}-k{latent_dim}-seed{seed}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(3000, times_input=4),
        runtime=minutes(240),
        gpu=settings.training.devices,
    params:
        settings=choices("train"),
        code=code("train"),
        # beside the log and undeclared: declared outputs are deleted before a job starts, and a resume needs it
        checkpoint="results/logs/train/{family}-k{latent_dim}-seed{seed}.ckpt",
    shell:
        "duet train --config {params.settings:q} --clips {input:q} --family {wildcards.family:q} "
        "--latent-dim {wildcards.latent_dim} --seed {wildcards.seed} --out {output.model:q} "
        "--history {output.history:q} --checkpoint {params.checkpoint:q} > {log:q} 2>&1 || shown {log:q}"


rule embed:
    input:
        model="results/models/{family}-k{latent_dim}/seed{seed}/model.pt",
        clips=every_session("clips.nc"),
    output:
        "results/models/{family}-k{latent_dim}/seed{seed}/latents.parquet",
    log:
        "results/logs/embed/{family}-k{latent_dim}-seed{seed}.log",
    benchmark:
        "results/benchmarks/embed/{family}-k{latent_dim}-seed{seed}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(3000, times_input=4),
        runtime=minutes(60),
    params:
        settings=choices("embed"),
        code=code("embed"),
    shell:
        "duet embed --config {params.settings:q} --model {input.model:q} --clips {input.clips:q} --out {output:q} "
        "> {log:q} 2>&1 || shown {log:q}"
