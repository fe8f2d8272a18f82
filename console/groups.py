"""Groups of commands that list what they are about when no command is given."""

from typing import Any

from typer.core import TyperGroup


class ListsByDefault(TyperGroup):
    """`pgfleet users` is `pgfleet users ls`, with all options of it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in self.get_help_option_names(ctx)):
            args = ["ls", *args]
        return super().parse_args(ctx, args)
