"""``python -m predfuse``."""

from predfuse.cli import main

if __name__ == "__main__":
    main()
