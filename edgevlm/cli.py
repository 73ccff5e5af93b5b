"""The command line: arguments and exit codes only. What a command does stands in `commands`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from edgevlm import __version__
from edgevlm.runtime.exits import EX_USAGE

app = typer.Typer(
    name="edgevlm",
    help="Put a vision-language model behind your cameras: typed answers over MQTT and to files.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 78 configuration.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The YAML file.", metavar="FILE")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else there.")]


class Level(StrEnum):
    """Log levels."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class Connectivity(StrEnum):
    """What a site lets through."""

    online = "online"
    offline = "offline"
    air_gapped = "air-gapped"


class Task(StrEnum):
    """Task types by their names in the configuration."""

    unconstrained = "unconstrained"
    ocr = "ocr"
    vqa = "visual-question-answering"
    caption = "caption"
    detailed_caption = "detailed-caption"
    classification = "classification"
    multi_label = "multi-label-classification"
    detection = "object-detection"
    structured = "structured-answering"


def _version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"edgevlm {__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Put a vision-language model behind your cameras: typed answers over MQTT and to files."""


@app.command(epilog="Example: edgevlm run -c /etc/edgevlm/edgevlm.yaml")
def run(
    config: Config = Path("/etc/edgevlm/edgevlm.yaml"),
    log_level: Annotated[Level, typer.Option(help="What to log.")] = Level.info,
    *,
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON, one object a line.")] = False,
    as_json: Json = False,
) -> None:
    """Run the daemon in the foreground; SIGTERM stops it in order.

    With --json every result is printed as one line, beside what the sinks do. Logs go to standard error.
    """
    from edgevlm.commands.run import run as run_daemon

    raise typer.Exit(run_daemon(config, log_level=log_level.value, log_json=log_json, as_json=as_json))


@app.command(epilog="Example: edgevlm check -c edgevlm.yaml")
def check(
    config: Config = Path("/etc/edgevlm/edgevlm.yaml"),
    connectivity: Annotated[
        Connectivity | None,
        typer.Option(help="Judge what works by this, instead of the file's site.connectivity."),
    ] = None,
    *,
    connect: Annotated[
        bool, typer.Option("--connect", help="Connect to the models too, and say what they can do.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read a configuration and say all that is wrong with it, and what of it works here.

    Exits 78 also when a rule is left without a usable model, sink or source.
    """
    from edgevlm.commands.check import check as check_config

    raise typer.Exit(
        check_config(
            config,
            connectivity=connectivity.value if connectivity else None,
            connect=connect,
            as_json=as_json,
        )
    )


@app.command(epilog="Example: edgevlm egress --systemd > /etc/systemd/system/edgevlm.service.d/egress.conf")
def egress(
    config: Config = Path("/etc/edgevlm/edgevlm.yaml"),
    user: Annotated[str, typer.Option(help="With --nft: whose packets are judged.")] = "edgevlm",
    *,
    systemd: Annotated[bool, typer.Option("--systemd", help="A drop-in for the service.")] = False,
    nft: Annotated[bool, typer.Option("--nft", help="A table for nftables.")] = False,
    as_json: Json = False,
) -> None:
    """Print a wall for the kernel that lets nothing out but to what a configuration names on this site."""
    from edgevlm.commands.egress import egress as print_wall

    if systemd == nft:
        _usage("choose one of --systemd and --nft")
    raise typer.Exit(print_wall(config, form="systemd" if systemd else "nft", user=user, as_json=as_json))


@app.command(epilog="Example: edgevlm schema > edgevlm.schema.json")
def schema(*, as_json: Json = False) -> None:
    """Print the configuration's JSON Schema, for editors."""
    from edgevlm.commands.schema import schema as print_schema

    raise typer.Exit(print_schema(as_json=as_json))


@app.command(
    "try",
    epilog="Examples: edgevlm try rtsp://10.0.0.21/stream1 'Is the gate open?' --answers yes,no     "
    "edgevlm try meter.jpg --task ocr     "
    "edgevlm try /dev/video0 --classes truck,van,empty --base-url http://10.0.0.5:8000/v1 --model qwen3-vl",
)
def try_(
    source: Annotated[
        str,
        typer.Argument(
            help="An RTSP URL, a device, a video file, a picture, or a folder of pictures.",
            show_default=False,
        ),
    ],
    question: Annotated[str | None, typer.Argument(help="What to ask.", show_default=False)] = None,
    task: Annotated[
        Task | None, typer.Option(help="Kind of question; found from the other options when absent.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="The classes to choose from: a,b,c.")] = None,
    answers: Annotated[str | None, typer.Option(help="The only answers allowed: yes,no.")] = None,
    output_structure: Annotated[
        str | None, typer.Option(help="Fields of a structured answer, as JSON.")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="An OpenAI-compatible server; one on this machine is looked for when absent."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The model's name; the server's first when absent.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Write the configuration that worked to this new file.", metavar="FILE"),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Ask one question about a camera, a video or a picture: from nothing to an answer in one command."""
    from edgevlm.commands.compose import Wish
    from edgevlm.commands.trial import trial

    structure = _object(output_structure)
    wish = Wish(
        source=source,
        question=question,
        task=str(task or _task_for(question, classes, answers, structure)),
        classes=_list(classes),
        answers=_list(answers),
        output_structure=structure,
    )
    raise typer.Exit(trial(wish, base_url=base_url, model=model, save=save, as_json=as_json))


@app.command(
    epilog="Examples: edgevlm ask -c edgevlm.yaml --rule gate/open     "
    "edgevlm ask -c edgevlm.yaml --model local --task classification --classes truck,van --image dock.jpg"
)
def ask(
    config: Config = Path("/etc/edgevlm/edgevlm.yaml"),
    rule: Annotated[
        str | None, typer.Option(help="A rule of the configuration.", metavar="CAMERA/RULE")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model of the configuration; the only one when absent.")
    ] = None,
    task: Annotated[Task | None, typer.Option(help="Kind of question, for --model.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="What to ask; with --rule instead of the rule's own prompt.")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="The classes to choose from: a,b,c.")] = None,
    answers: Annotated[str | None, typer.Option(help="The only answers allowed: yes,no.")] = None,
    output_structure: Annotated[
        str | None, typer.Option(help="Fields of a structured answer, as JSON.")
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="A picture to ask about; may be given several times.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Ask one question and print its result JSON: of a rule, or of a model about pictures.

    Exit 0 for ok and unknown, 1 for error. Nothing is delivered to sinks.
    """
    from edgevlm.commands.ask import Asking
    from edgevlm.commands.ask import ask as ask_question

    del as_json  # it prints JSON anyway
    if rule is None and task is None:
        _usage("name a rule with --rule CAMERA/RULE, or a kind of question with --task")
    own = {"--model": model, "--task": task, "--classes": classes, "--answers": answers}
    own["--output-structure"] = output_structure
    for option, value in own.items():
        if rule is not None and value is not None:
            _usage(f"{option} does not go with --rule: the rule has its own")
    fields = {
        "prompt": prompt,
        "classes": list(_list(classes)) or None,
        "answers": list(_list(answers)) or None,
        "output_structure": _object(output_structure) or None,
    }
    given = {"type": str(task)} | {key: value for key, value in fields.items() if value is not None}
    asking = Asking(rule, model, given if task else None, tuple(image or ()), prompt if rule else None)
    raise typer.Exit(ask_question(config, asking))


@app.command(epilog="Example: edgevlm demo --seconds 20")
def demo(
    seconds: Annotated[float | None, typer.Option(help="End by itself after this time.", min=1)] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Ask this OpenAI-compatible server instead of the embedded OCR.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name there.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show the whole way of a frame with no camera, model or broker at hand."""
    from edgevlm.commands.demo import demo as run_demo

    if model is not None and base_url is None:
        _usage("--model goes with --base-url")
    raise typer.Exit(run_demo(seconds=seconds, base_url=base_url, model=model, as_json=as_json))


spool_app = typer.Typer(help="See what waits for delivery, and what a sink refused.", no_args_is_help=True)
app.add_typer(spool_app, name="spool")
SinkName = Annotated[str | None, typer.Option("--sink", help="Only this sink's.", show_default=False)]
MessageId = Annotated[str | None, typer.Option("--id", help="Only this message.", show_default=False)]


@spool_app.command("list", epilog="Example: edgevlm spool list --json")
def spool_list(sink: SinkName = None, *, as_json: Json = False) -> None:
    """Show how many messages wait for each sink, and the messages that were refused, with the reason."""
    _spool("list", sink, None, as_json=as_json)


@spool_app.command("retry", epilog="Example: edgevlm spool retry --sink broker")
def spool_retry(sink: SinkName = None, message_id: MessageId = None, *, as_json: Json = False) -> None:
    """Try refused messages again: all, those of a sink, or one."""
    _spool("retry", sink, message_id, as_json=as_json)


@spool_app.command("drop", epilog="Example: edgevlm spool drop --sink old-broker --waiting")
def spool_drop(
    sink: SinkName = None,
    message_id: MessageId = None,
    *,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Messages that wait, instead of those that were refused.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete refused messages of a sink, or one; with --waiting those that wait."""
    if sink is None and message_id is None:
        _usage("say what to drop: --sink NAME or --id ID")
    _spool("drop", sink, message_id, waiting=waiting, as_json=as_json)


def _spool(
    verb: str, sink: str | None, message_id: str | None, *, as_json: bool, waiting: bool = False
) -> NoReturn:
    from edgevlm.commands.spool import spool

    raise typer.Exit(spool(verb, sink=sink, message_id=message_id, waiting=waiting, as_json=as_json))


def _task_for(
    question: str | None, classes: str | None, answers: str | None, structure: dict[str, Any]
) -> Task:
    """Return the kind of question that the other options mean."""
    if structure:
        return Task.structured
    if classes:
        return Task.classification
    return Task.vqa if question or answers else Task.caption


def _list(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def _object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        _usage(f"--output-structure is not JSON: {error}")
    if not isinstance(value, dict):
        _usage('--output-structure must be an object, e.g. {"trucks": {"type": "integer"}}')
    return value


def _usage(why: str) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(EX_USAGE)
