"""The durable record of a run: its events, what they add up to, its tables, its lock and its files."""
