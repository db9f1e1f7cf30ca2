"""`qir passes`, `qir pipelines`, `qir targets`: what there is."""

import click

from .messages import tell


@click.command("passes")
def passes() -> None:
    """List every pass: its arrow, its options, what it does."""
    from .. import registry

    for each in registry.passes().values():
        _entry(f"{each.name}({each.signature})", each.arrow, each.doc)
    _failures()


@click.command("pipelines")
def pipelines() -> None:
    """List every named pipeline with its parameters and steps."""
    from .. import registry
    from ..errors import QirError, QirWarning
    from ..pipeline import check_arrows, compose
    from ..text.write import option_text

    for name, (record, _) in registry.pipelines().items():
        parameters = ", ".join(f"{k}={option_text(v)}" for k, v in record.settings.items())
        try:
            steps = compose(name)
        except QirError as error:  # it may want what a plugin was to bring
            tell(QirWarning(f"the pipeline '{name}' cannot be composed: {error}"), "warning")
            continue
        inside = ", ".join(step.name for step in record.steps)
        _entry(f"{name}({parameters})", f"-> {check_arrows(steps) or 'any'}", inside)
    _failures()


@click.command("targets")
def targets() -> None:
    """List every target and the form it takes."""
    from .. import registry

    for each in registry.targets().values():
        _entry(each.name, each.form, each.doc)
    _failures()


def _entry(name: str, arrow: str, doc: str) -> None:
    first = doc.strip().splitlines()[0] if doc.strip() else ""
    click.echo(f"{name}  [{arrow}]\n    {first}")


def _failures() -> None:
    from ..errors import QirWarning
    from ..registry import failed_plugins

    for each in failed_plugins():
        tell(QirWarning(str(each)), "warning")
