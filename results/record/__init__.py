"""The durable record of a run: its events, the state that they add up to, its tables, its lock and its files."""
