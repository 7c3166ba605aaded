"""`python -m benchmarks.early_stopping`."""

from benchmarks.early_stopping.comparison import main

if __name__ == "__main__":
    main()
