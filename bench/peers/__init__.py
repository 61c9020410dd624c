"""What the benchmarks are held beside."""
