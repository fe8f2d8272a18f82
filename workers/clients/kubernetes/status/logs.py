"""What a container wrote last, fit to be kept in a row and shown in a terminal."""

from pgfleet.schema.printable import cut, harmless, printable

LOG_LINES = 200
LOG_BYTES = 16 * 1024
LONGEST_LINE = 300


def last_lines(written: bytes) -> str | None:
    """The last lines, at most 16 KiB of them; None where nothing was written."""
    lines = harmless(written.decode("utf-8", "replace")).split("\n")
    text = "\n".join(line.rstrip() for line in lines).strip("\n").split("\n")[-LOG_LINES:]
    kept = "\n".join(text).encode()
    if len(kept) > LOG_BYTES:
        kept = kept[-LOG_BYTES:]
        # A line that was cut is left out, unless it is all that there is.
        kept = kept.partition(b"\n")[2] or kept
    return kept.decode("utf-8", "ignore") or None


def last_line(logs: str | None) -> str | None:
    """The last line with anything in it, as one sentence of a reason."""
    lines = [printable(line) for line in (logs or "").split("\n")]
    said = next((line for line in reversed(lines) if line), None)
    return None if said is None else cut(said, LONGEST_LINE)


def with_last_line(reason: str, logs: str | None) -> str:
    """A reason, and what was written last, if anything was."""
    line = last_line(logs)
    return f"{reason}; the last it wrote: {line}" if line else reason
