"""The workload controllers: <name>/plan.py decides, <name>/controller.py acts."""
