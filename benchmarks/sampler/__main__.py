"""`python -m benchmarks.sampler`."""

import sys

from benchmarks.sampler.comparison import main

if __name__ == "__main__":
    sys.exit(main())
