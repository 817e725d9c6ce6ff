# Comes before all else that could start, and alone: it asks for more cores than there are. It is no input of the
# others, since Snakemake does not look at changed parameters of what hangs on a job that has to run, even where the
# link is ancient().
rule check:
    input:
        sheet=SHEET,
        recordings=[shortest(f) for s in sessions.values() for f in files_of(s)],
    output:
        "results/check.tsv",
    log:
        "results/logs/check.log",
    benchmark:
        "results/benchmarks/check.tsv"
    priority: 100
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1024
    resources:
        mem_mb=memory(1500),
        runtime=minutes(15),
    params:
        settings=choices("check"),
        code=code("check"),
    shell:
        "duet check --config {params.settings:q} --sheet {input.sheet:q} --out {output:q} 2>&1 | tee {log:q}"


rule spectrogram:
    input:
        sheet=ancient(SHEET),
        sound=sound,
    output:
        "results/prepared/{session}/spectrogram.nc",
    log:
        "results/logs/spectrogram/{session}.log",
    benchmark:
        "results/benchmarks/spectrogram/{session}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=minutes(60),
    params:
        settings=choices("spectrogram"),
        code=code("spectrogram"),
        row=row("audio", "audio_start_s", "audio_series"),
    shell:
        "duet spectrogram --config {params.settings:q} --sheet {input.sheet:q} --session {wildcards.session:q} "
        "--out {output:q} > {log:q} 2>&1 || shown {log:q}"


rule calls:
    input:
        sheet=ancient(SHEET),
        sound=sound,
        labels=labels,
        clock=clock_of_labels,
        spectrogram="results/prepared/{session}/spectrogram.nc",
    output:
        "results/prepared/{session}/calls.parquet",
    log:
        "results/logs/calls/{session}.log",
    benchmark:
        "results/benchmarks/calls/{session}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(120),
    params:
        settings=choices("calls"),
        code=code("calls"),
        row=row("audio", "audio_start_s", "audio_series", "annotations"),
    shell:
        "duet calls --config {params.settings:q} --sheet {input.sheet:q} --session {wildcards.session:q} "
        "--spectrogram {input.spectrogram:q} --counts {input.clock:q} --out {output:q} > {log:q} 2>&1 || shown {log:q}"


rule bin:
    input:
        sheet=ancient(SHEET),
        spikes=spikes,
        spectrogram="results/prepared/{session}/spectrogram.nc",
    output:
        counts="results/prepared/{session}/counts.nc",
        units="results/prepared/{session}/units.parquet",
    log:
        "results/logs/bin/{session}.log",
    benchmark:
        "results/benchmarks/bin/{session}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(30),
    params:
        settings=choices("bin"),
        code=code("bin"),
        row=row("subject", "nwb", "sync"),
    shell:
        "duet bin --config {params.settings:q} --sheet {input.sheet:q} --session {wildcards.session:q} "
        "--spectrogram {input.spectrogram:q} --out {output.counts:q} --units-out {output.units:q} "
        "> {log:q} 2>&1 || shown {log:q}"


rule bin_extra:
    input:
        sheet=ancient(SHEET),
        spikes=spikes,
        spectrogram="results/prepared/{session}/spectrogram.nc",
        counts="results/prepared/{session}/counts.nc",
        units="results/prepared/{session}/units.parquet",
    output:
        counts="results/prepared/{session}/extra/{extra}.nc",
        units="results/prepared/{session}/extra/{extra}.parquet",
    log:
        "results/logs/bin_extra/{session}-{extra}.log",
    benchmark:
        "results/benchmarks/bin_extra/{session}-{extra}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=minutes(60),
    params:
        settings=choices("bin-extra"),
        code=code("bin-extra"),
        row=row("subject", "nwb", "sync"),
    shell:
        "duet bin-extra --config {params.settings:q} --sheet {input.sheet:q} --session {wildcards.session:q} "
        "--extra {wildcards.extra:q} --spectrogram {input.spectrogram:q} --counts {input.counts:q} "
        "--units {input.units:q} --out {output.counts:q} --units-out {output.units:q} > {log:q} 2>&1 || shown {log:q}"


rule covariates:
    input:
        sheet=ancient(SHEET),
        covariates=covariate_files,
        counts="results/prepared/{session}/counts.nc",
    output:
        "results/prepared/{session}/covariates.nc",
    log:
        "results/logs/covariates/{session}.log",
    benchmark:
        "results/benchmarks/covariates/{session}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=minutes(30),
    params:
        code=code("covariates"),
        row=row("nwb", "covariates"),
    shell:
        "duet covariates --sheet {input.sheet:q} --session {wildcards.session:q} --counts {input.counts:q} "
        "--out {output:q} > {log:q} 2>&1 || shown {log:q}"


rule clips:
    input:
        sheet=ancient(SHEET),
        spectrogram="results/prepared/{session}/spectrogram.nc",
        calls="results/prepared/{session}/calls.parquet",
        counts="results/prepared/{session}/counts.nc",
        extra=lambda wildcards: list(extras(wildcards).values()),
    output:
        "results/prepared/{session}/clips.nc",
    log:
        "results/logs/clips/{session}.log",
    benchmark:
        "results/benchmarks/clips/{session}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000, times_input=2),
        runtime=minutes(30),
    params:
        settings=choices("clips"),
        code=code("clips"),
        row=row("subject"),
        extra=lambda wildcards: [f"{name}={path}" for name, path in extras(wildcards).items()],
    shell:
        "duet clips --config {params.settings:q} --sheet {input.sheet:q} --session {wildcards.session:q} "
        "--spectrogram {input.spectrogram:q} --calls {input.calls:q} --counts {input.counts:q} "
        "--extra {params.extra:q} --out {output:q} > {log:q} 2>&1 || shown {log:q}"


rule tune:
    input:
        sheet=ancient(SHEET),
        spectrogram="results/prepared/{session}/spectrogram.nc",
        calls="results/prepared/{session}/calls.parquet",
        counts="results/prepared/{session}/counts.nc",
        units="results/prepared/{session}/units.parquet",
        clips="results/prepared/{session}/clips.nc",
        others=lambda wildcards: list(others(wildcards).values()),
        covariates=covariates_of,
    output:
        "results/prepared/{session}/tuning.nc",
    log:
        "results/logs/tune/{session}.log",
    benchmark:
        "results/benchmarks/tune/{session}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(3000, times_input=1),
        runtime=minutes(120),
    params:
        settings=choices("tune"),
        code=code("tune"),
        others=lambda wildcards: [f"{name}={path}" for name, path in others(wildcards).items()],
    shell:
        "duet tune --config {params.settings:q} --sheet {input.sheet:q} --session {wildcards.session:q} "
        "--spectrogram {input.spectrogram:q} --calls {input.calls:q} --counts {input.counts:q} "
        "--units {input.units:q} --clips {input.clips:q} --others {params.others:q} "
        "--covariates {input.covariates:q} --out {output:q} > {log:q} 2>&1 || shown {log:q}"
