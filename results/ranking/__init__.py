"""The leaderboard below its command: the rule, the question, filters, means over seeds, and how rows are written."""
