"""Reading what people write: YAML with positions, durations and sizes, the nearest right name."""
