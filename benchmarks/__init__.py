"""One question per file; run as `python -m benchmarks.bench_…`, `--smoke` proves that it runs."""
