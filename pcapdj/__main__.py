"""`python -m pcapdj` is the `pcapdj` command."""

from pcapdj.cli import main

if __name__ == "__main__":
    main()
