"""`python -m rusgi`: the same command as `rusgi`."""

from rusgi._cli import main

if __name__ == "__main__":
    main()
