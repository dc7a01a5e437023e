"""``python -m mockrelay``."""

from mockrelay.cli import main

if __name__ == "__main__":
    main()
