"""What a cell will take before it is started: `cell` by stages, from `precedents` in records and a model's `workload`."""
