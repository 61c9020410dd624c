"""What several benchmarks of this folder share; nothing here runs by itself."""
