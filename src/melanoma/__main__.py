"""`python -m melanoma`: the command, where it is not on the path."""

from melanoma.cli.main import run

if __name__ == "__main__":  # not in the processes that it starts
    run()
