"""Pages about runs for a browser: the facts, the plots drawn from them, and the templates."""
