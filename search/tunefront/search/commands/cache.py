"""`tunefront cache`: show or shrink the cache of build artifacts on this machine."""

import json
import re
from collections.abc import Mapping

import click

from tunefront.spaces import CacheError

from .arguments import print_message


@click.command("cache")
@click.option("--limit", metavar="SIZE", help="Evict down to a size now, such as 10GB.")
@click.option("--clear", "cleared", is_flag=True, help="Remove all that no search is using.")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def cache_command(limit: str | None, cleared: bool, style: str) -> None:
    """Show the cache of build artifacts on this machine, or reduce its size.

    Later searches build again what was removed.

    \b
    tunefront cache
    tunefront cache --limit 10GB
    TUNEFRONT_CACHE_LIMIT_GB=20 tunefront run experiment.yaml   a limit that lasts
    """
    from tunefront.evaluators.store.usage import clear_cache, read_cache, shrink_cache
    from tunefront.search.terminal.listings import cache_record, cache_table, removed_line
    from tunefront.search.terminal.tables import print_table

    if limit is not None and cleared:
        raise click.UsageError("--limit and --clear: one of the two")
    wanted = None if limit is None else parse_size(limit)
    removed = clear_cache() if cleared else [] if wanted is None else shrink_cache(wanted)
    found = read_cache()
    if style == "json":
        click.echo(json.dumps(cache_record(found, removed), indent=2))
        return
    print_table(cache_table(found))
    if cleared or wanted is not None:
        print_message(removed_line(found, removed, 0 if wanted is None else wanted))


SIZE_UNITS: Mapping[str, int] = {"MB": 2**20, "GB": 2**30, "TB": 2**40}


def parse_size(written: str) -> int:
    """Return the number of bytes of a size such as `10GB` (binary units: 1 GB is 2**30 bytes).

    Raises:
        CacheError: If the text is not a size above 0.
    """
    found = re.fullmatch(r"(\d+\.?\d*)\s*(MB|GB|TB)", written.strip().upper())
    size = int(float(found[1]) * SIZE_UNITS[found[2]]) if found else 0
    if size <= 0:
        raise CacheError(
            f"--limit: a size above 0 such as 500MB, 10GB or 1.5TB is needed, but got {written!r}"
        )
    return size
