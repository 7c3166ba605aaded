"""One session of a search: Ray Tune executes, the record decides. The only part that imports Ray."""
