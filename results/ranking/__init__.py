"""The leaderboard below its command: the ranking rule, the query, filters, means over seeds, and output formats."""
