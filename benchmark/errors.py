"""The one exception for what a user can mend."""


class BenchmarkError(Exception):
    """Something a user can mend: one sentence that names the file or plugin and what to do about it.

    The command line prints it without a traceback and exits with code 2.
    """


def in_words(error: Exception) -> str:
    """The sentence of a BenchmarkError; of anything else, its kind and what it says."""
    return str(error) if isinstance(error, BenchmarkError) else f"{type(error).__name__}: {error}"


def interrupted(kept: int, total: int, what: str) -> KeyboardInterrupt:
    """Ctrl-C with the truth about what the same command will find."""
    if kept:
        return KeyboardInterrupt(f"the same command goes on where it stopped, after {kept} of {total} {what}")
    return KeyboardInterrupt(f"nothing of these {total} {what} was kept yet, the same command begins them again")
