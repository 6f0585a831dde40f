"""The command line: parses, builds, calls one function per command."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from declutch.config.files import apply_overrides, load_config, parse_config
from declutch.config.judge import EndpointConfig
from declutch.config.run import Config
from declutch.errors import UserError

app = typer.Typer(
    name="declutch",
    help="Reinforcement learning of language-model agents that generalise.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
games_app = typer.Typer(no_args_is_help=True, help="Look at, generate and verify games.")
app.add_typer(games_app, name="games")
envs_app = typer.Typer(no_args_is_help=True, help="Try out environments, your own above all.")
app.add_typer(envs_app, name="envs")

LIST_OPTIONS = ("--levels", "--seeds", "--split", "--methods", "--gcd", "--tasks")

console = Console()
errors = Console(stderr=True)

ConfigOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        help="YAML file; what it omits has its default. Given again, the later is laid over.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Settings such as optimizer.lr=2e-4 that win over the file."
    ),
]


def main() -> None:
    """Run the command line; a `UserError` is one line and exit status 2."""
    try:
        app(args=spread_lists(sys.argv[1:]))
    except UserError as error:
        errors.print(f"[bold red]error:[/] {_escape(str(error))}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        errors.print("interrupted")
        raise SystemExit(130) from None


@app.command("init-tiny")
def init_tiny_command(
    out: Annotated[Path, typer.Argument(help="Folder to write the model to.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """Make a fresh Qwen2 of about 1 M parameters with a tokenizer of the environment's words."""
    from declutch.cold_start.pipeline import make_tiny

    settings = _load(config, overrides)
    suite = _suite(settings)
    with _bar("collecting words") as report:
        size = make_tiny(settings, suite, out, report)
    console.print(f"{size / 1e6:.2f} M parameters written to {out}")


@app.command("demonstrations")
def demonstrations_command(
    out: Annotated[Path, typer.Argument(help="JSONL file to write.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """Write the expert's demonstrations under the protocol of sft.protocol."""
    from declutch.cold_start.pipeline import make_demonstrations

    settings = _load(config, overrides)
    suite = _suite(settings)
    chat = _chat(settings) if settings.sft.reasoning == "endpoint" else None
    with _bar("demonstrations") as report:
        header = make_demonstrations(settings, suite, out, report, chat)
    console.print(
        f"{header.num_episodes} episodes, {header.num_won} of them won, {header.num_steps} steps, "
        f"protocol {header.protocol}, "
        f"reasoning by {header.reasoning}{_fallbacks(header.fallbacks)}, written to {out}"
    )
    _tell_usage(chat)


@app.command("sft")
def sft_command(
    model: Annotated[str, typer.Argument(help="Model folder or hub name to start from.")],
    out: Annotated[Path, typer.Argument(help="Folder to write the trained model to.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """Cold start: train on demonstrations and labelled steps to judge."""
    from declutch.cold_start.pipeline import make_demonstrations, run_sft

    settings = _load(config, [*(overrides or []), f"model.path={model}"])
    sft = settings.sft
    demonstrations = sft.demonstrations or out.parent / f"{out.name}.demonstrations.jsonl"
    is_to_make = sft.demonstrations is None and not demonstrations.exists()
    asks = sft.critiques == "endpoint" or (is_to_make and sft.reasoning == "endpoint")
    chat = _chat(settings) if asks else None
    if is_to_make:
        suite = _suite(settings)
        with _bar("demonstrations") as report:
            make_demonstrations(settings, suite, demonstrations, report, chat)
    with _bar("cold start") as report:
        facts = run_sft(
            settings, demonstrations, out, lambda p: report(p.step, p.num_steps), chat=chat
        )
    more = {"prediction": facts.num_future_examples, "value-head": facts.num_value_examples}
    console.print(
        f"{facts.num_examples} agent examples (reasoning by {facts.reasoning}"
        f"{_fallbacks(facts.reasoning_fallbacks)}) and {facts.num_judge_examples} judge examples "
        f"(critiques by {facts.critiques}{_fallbacks(facts.critique_fallbacks)}), "
        + "".join(f"{count} {name} examples, " for name, count in more.items() if count)
        + f"{facts.steps} steps in {facts.seconds:.0f} s, loss {facts.loss:.3f}; model in {out}"
    )
    _tell_usage(chat)


@app.command("train")
def train_command(
    run_dir: Annotated[Path, typer.Argument(help="Run folder; everything is written there.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in RUN_DIR from its last checkpoint.")
    ] = False,
) -> None:
    """Train an agent with reinforcement learning: algorithm.type, GCD where gcd.enabled=true."""
    from declutch.cold_start.facts import read_cold_start
    from declutch.report.live import TrainWatcher
    from declutch.runs.folder import RunFolder
    from declutch.train.loop import train

    run = RunFolder(run_dir).create()
    settings = _training_config(run, config, overrides, resume)
    suite = _suite(settings)
    facts = read_cold_start(settings.model.path)
    run.write_config(settings)
    run.write_cold_start(vars(facts))
    gcd = settings.gcd
    form = "gcd" if gcd.form == "generative" else gcd.form
    suggests = "_sugg" if gcd.suggestions.enabled else ""
    title = f"{run_dir.name}: {settings.algorithm.type}"
    title += f"+{form}{suggests}" if gcd.enabled else ""
    with TrainWatcher(settings.train.iterations, title, start=run.iterations_saved()) as watcher:
        try:
            last = train(settings, run, suite, watcher, facts.protocol)
        except UserError:
            run.withdraw_start()
            raise
    console.print(f"checkpoint: {last}\nreport: declutch report {run_dir}")


@app.command("eval")
def eval_command(
    policy: Annotated[str, typer.Argument(help="Model folder, hub name, expert or random.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
    levels: Annotated[
        list[str] | None, typer.Option("--levels", help="One or more of L0 L1 L2 L0-train L2-seen.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature; 0.4 unless configured.")
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seeds", help="One or more evaluation seeds.")
    ] = None,
    max_games: Annotated[
        int | None, typer.Option(help="First n games of a level's fixed shuffled order.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the result to.")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="An earlier result: print the paired difference too.")
    ] = None,
    judge: Annotated[
        bool, typer.Option("--judge", help="Have labelled steps of each level judged as well.")
    ] = False,
    judge_steps: Annotated[
        int | None,
        typer.Option(
            min=2, help="Steps of a level to judge, half of them good; 200 unless configured."
        ),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option(help="Model folder or hub name that judges instead of POLICY.")
    ] = None,
) -> None:
    """Play every game of a level exactly once per seed and print success with 95% intervals.

    With --judge, POLICY also judges steps it has just played, and its accuracy is printed.
    """
    from declutch.cli.eval import run_eval, show_eval
    from declutch.evaluation.results import load_result, save_result

    settings = _load(config, overrides)
    changes: dict[str, Any] = {
        "levels": levels,
        "temperature": temperature,
        "seeds": seeds,
        "max_games": max_games,
        "judge": judge or judge_steps is not None or judge_model is not None,
        "judge_steps": judge_steps,
    }
    data = settings.model_dump(mode="json")
    data["eval"] |= {key: value for key, value in changes.items() if value}
    if temperature == 0:
        data["eval"]["temperature"] = 0.0
    settings = parse_config(data, "the command line")
    before = load_result(compare) if compare else None
    result = run_eval(settings, _suite(settings), policy, judge_model, console)
    show_eval(result, before, console)
    if out is not None:
        save_result(result, out)
        console.print(f"written to {out}")


@app.command("labels")
def labels_command(
    model: Annotated[str, typer.Argument(help="Run folder, model folder or hub name.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
    split: Annotated[str, typer.Option(help="Split or level to play.")] = "rl-train",
    num_steps: Annotated[
        int, typer.Option("--steps", min=1, help="Steps to label by the rule and the oracle.")
    ] = 2000,
    llm_steps: Annotated[
        int, typer.Option("--llm-steps", min=0, help="Of these, steps to ask the endpoint about.")
    ] = 0,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Ask nothing; print example prompts and an estimate."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file to write the numbers to.")] = None,
) -> None:
    """Label steps that a policy played, by every source, and say how the sources agree.

    A run folder stands for its last checkpoint and brings its own configuration.
    """
    from declutch.cli.labels import LabelJob, run_labels
    from declutch.rollout.policy import load_policy
    from declutch.runs.folder import RunFolder

    run = RunFolder(Path(model))
    last = run.last_checkpoint()
    files = config or ([run.config_path] if last is not None and run.has_started() else None)
    settings = _load(files, overrides)
    policy = load_policy(last or model, settings)
    suite = _suite(settings)
    job = LabelJob(split, num_steps, llm_steps, dry_run, out)
    run_labels(policy, settings, suite, job, console)


@app.command("compare")
def compare_command(
    out: Annotated[
        Path, typer.Argument(help="Folder of the runs, METHOD[+gcd]_sSEED, and tables.")
    ],
    overrides: Overrides = None,
    config: ConfigOption = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--methods",
            help="Algorithm types, or YAML files laid over --config; the first is what the others "
            "are compared with.",
        ),
    ] = None,
    gcd: Annotated[
        list[str] | None,
        typer.Option("--gcd", help="off, on or both; as configured if left out."),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seeds", min=0, help="Training seeds; 0 1 2 if left out.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Runs trained at once.")] = 1,
    iteration: Annotated[
        int | None, typer.Option(min=0, help="Compare this one; else the last that all runs have.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained.")] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Train nothing: tables of what lies in OUT so far.")
    ] = False,
) -> None:
    """Train methods with and without GCD over seeds from one cold start, and compare them.

    The same command again goes on where it stopped; runs that are complete are not repeated.
    """
    from declutch.cli import compare as command
    from declutch.compare.grid import find_runs, make_grid, parse_gcd
    from declutch.config.files import read_layers

    enabled = parse_gcd(gcd or [])
    if show:
        stems = [Path(name).stem for name in methods or []]
        command.show_tables(out, find_runs(out, stems, enabled, seeds or []), iteration, console)
        return
    base = _load(config, None)
    data = read_layers(config or [])
    names = methods or [base.algorithm.type]
    grid = make_grid(out, data, names, enabled, seeds or [0, 1, 2], overrides or [])
    if dry_run:
        command.show_plan(grid, console)
        return
    failures = command.train_grid(grid, workers, console)
    command.show_tables(out, [run.id for run in grid.runs], iteration, console)
    command.show_failures(failures, out, console)
    if failures:
        raise typer.Exit(1)


@app.command("report")
def report_command(
    run_dir: Annotated[Path, typer.Argument(help="Run folder of `declutch train`.")],
) -> None:
    """Write one self-contained HTML page about a run."""
    from declutch.report.build import build_report

    console.print(f"report: {build_report(run_dir)}", soft_wrap=True)


@app.command("doctor")
def doctor_command(overrides: Overrides = None, config: ConfigOption = None) -> None:
    """Say what is installed and found, and the remedy of every problem."""
    from declutch.cli.doctor import diagnose
    from declutch.errors import has_problem
    from declutch.report.tables import findings_table

    findings = diagnose(_load(config, overrides))
    console.print(findings_table(findings))
    if has_problem(findings):
        raise typer.Exit(1)


@app.command("play")
def play_command(
    player: Annotated[
        str, typer.Argument(help="me, expert, random, or a model folder or hub name.")
    ] = "me",
    overrides: Overrides = None,
    config: ConfigOption = None,
    split: Annotated[str, typer.Option(help="Split or level to take the game from.")] = "L0",
    game: Annotated[int, typer.Option(help="Number of the game within the split.")] = 0,
) -> None:
    """Play one game in the terminal, or watch the expert or a model play it."""
    from declutch.cli.play import play_game

    settings = _load(config, overrides)
    play_game(player, settings, _suite(settings), split, game, console)


@app.command("demo")
def demo_command(
    out: Annotated[Path, typer.Argument(help="Folder of the demo's models and run.")] = Path(
        "runs/demo"
    ),
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """The whole path on the configured suite: cold start, GRPO + GCD, evaluation, report."""
    from declutch.cli.demo import run_demo

    run_demo(_load(config, overrides), out, console)


@app.command("serve")
def serve_command(
    model: Annotated[str, typer.Argument(help="Model folder or hub name to serve.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    name: Annotated[
        str | None, typer.Option(help="What requests call the model; the folder's name else.")
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Answers sampled at once.")] = 32,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens of an answer where a request sets no limit.")
    ] = 512,
) -> None:
    """Serve a local model with the OpenAI chat-completions protocol, until Ctrl-C or SIGTERM."""
    settings = _load(config, overrides)
    try:
        from declutch.endpoint.server.app import serve
    except ImportError as error:
        raise UserError(
            f"serving needs the package {error.name!r}: pip install 'declutch[serve]'"
        ) from None
    from declutch.endpoint.server.model import ServedModel
    from declutch.models.load import load_model, set_threads

    set_threads(settings.threads)
    served = ServedModel(*load_model(model, settings.model), max_batch, max_tokens)
    called = name or Path(model).name

    def announce(url: str) -> None:
        console.print(f"serving {called} at {url}", soft_wrap=True, highlight=False)

    serve(served, called, host, port, max_batch, announce)


@app.command("convert-gguf")
def convert_gguf_command(
    source: Annotated[
        str, typer.Argument(help="GGUF file, or name of an installed package that holds one.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write the model to.")],
) -> None:
    """Write the model in a GGUF file as a folder that every command takes."""
    from declutch.models.gguf import convert_gguf

    size = convert_gguf(source, out)
    console.print(f"{size / 1e6:.1f} M parameters written to {out}")


@games_app.command("list")
def games_list_command(overrides: Overrides = None, config: ConfigOption = None) -> None:
    """Count the games of every split and task type."""
    from declutch.cli.doctor import games_table

    console.print(games_table(_suite(_load(config, overrides))))


@games_app.command("generate")
def games_generate_command(overrides: Overrides = None, config: ConfigOption = None) -> None:
    """Generate the households now instead of at first use."""
    settings = _load(config, overrides)
    if settings.env.suite != "households":
        raise UserError(f"env.suite={settings.env.suite!r} has nothing to generate")
    console.print(f"games in {_suite(settings).root}", soft_wrap=True)


@games_app.command("expert")
def games_expert_command(
    overrides: Overrides = None,
    config: ConfigOption = None,
    split: Annotated[list[str] | None, typer.Option("--split", help="One or more splits.")] = None,
) -> None:
    """Let the expert play every game: share won, length against the walkthrough's, per type."""
    from declutch.evaluation.expert import expert_table
    from declutch.report.tables import expert_rows_table

    settings = _load(config, overrides)
    suite = _suite(settings)
    is_alfworld = settings.env.suite in ("alfworld", "households")
    usual = ["train", "valid_seen", "valid_unseen"] if is_alfworld else ["train", "L0", "L1", "L2"]
    for name in split or usual:
        console.print(expert_rows_table(name, expert_table(suite, name)))


@games_app.command("verify")
def games_verify_command(
    reference: Annotated[str, typer.Option(help="Engine to compare with.")] = "textworld",
    num_games: Annotated[int, typer.Option(min=1, help="Games, over all splits and types.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the games drawn and the walks.")] = 0,
    data: Annotated[Path | None, typer.Option(help="Folder that holds json_2.1.1.")] = None,
    num_steps: Annotated[int, typer.Option(min=1, help="Steps of each walk.")] = 30,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """Play the same commands through our engine and the official one; stop at a difference."""
    from declutch.cli.verify import VerifyJob, run_verify

    settings = _load(config, overrides)
    job = VerifyJob(reference, num_games, seed, data, num_steps, workers)
    if not run_verify(settings, job, console):
        raise typer.Exit(1)


@games_app.command("gold")
def games_gold_command(
    overrides: Overrides = None,
    config: ConfigOption = None,
    levels: Annotated[
        list[str] | None, typer.Option("--levels", help="One or more levels or splits; L0 else.")
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--tasks", help="One or more tasks; all if left out.")
    ] = None,
    num_variations: Annotated[
        int, typer.Option(min=1, help="Variations of each task and level, the first ones.")
    ] = 3,
    out: Annotated[Path | None, typer.Option(help="JSON file to write every path to.")] = None,
) -> None:
    """Check ScienceWorld's gold paths: which solve their task, how long they are, which fail."""
    from declutch.cli.gold import run_gold

    settings = _load(config, overrides)
    suite = _suite(settings)
    run_gold(settings, suite, levels or ["L0"], tasks or [], num_variations, out, console)


@envs_app.command("check")
def envs_check_command(
    suite: Annotated[str, typer.Argument(help="package.module:Name, or a suite's name.")],
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """Try out whether an environment keeps the rules that training and evaluation rely on."""
    from declutch.envs.check import check_suite
    from declutch.errors import has_problem
    from declutch.report.tables import findings_table

    settings = _load(config, [*(overrides or []), f"env.suite={suite}"])
    findings = check_suite(_suite(settings))
    console.print(findings_table(findings))
    if has_problem(findings):
        raise typer.Exit(1)


def spread_lists(arguments: list[str]) -> list[str]:
    """Let an option that may be repeated take several values: `--levels L0 L1` as two options.

    Values end at the next option and at a KEY=VALUE setting.
    """
    result: list[str] = []
    option: str | None = None
    for argument in arguments:
        if argument.startswith("-") or "=" in argument:
            option = argument if argument in LIST_OPTIONS else None
            result.append(argument)
        elif option is not None and result[-1] != option:
            result += [option, argument]
        else:
            result.append(argument)
    return result


def _load(config: list[Path] | None, overrides: list[str] | None) -> Config:
    return load_config(config, overrides or [])


def _training_config(
    run: Any, config: list[Path] | None, overrides: list[str] | None, resume: bool
) -> Config:
    """The run's own configuration on --resume, where only `train.iterations` may grow."""
    if resume:
        if config:
            raise UserError("--resume continues with the run's own config.yaml; leave --config out")
        data = run.read_config().model_dump(mode="json")
        text = [item for item in overrides or [] if item]
        own = ("train.iterations=", "train.save_every=", "train.keep_checkpoints=", "threads=")
        # A server may move, a key's variable be renamed; the model it answers by is the run's.
        places = tuple(f"endpoint.{n}=" for n in EndpointConfig.model_fields if n != "model")
        allowed = (*own, *places, "gcd.on_endpoint_failure=", "gcd.fallback_labels=")
        for item in text:
            if not item.startswith(allowed):
                raise UserError(
                    f"--resume cannot change {item!r}: the run would no longer be the same; start "
                    "a new run folder"
                )
        return parse_config(apply_overrides(data, text), "the resumed run")
    if run.has_started():
        raise UserError(
            f"{run.path} already holds a run; add --resume to continue it, or choose another folder"
        )
    settings = _load(config, overrides)
    if not settings.model.path:
        raise UserError("model.path is empty: name the model to train, e.g. model.path=runs/sft")
    return settings


def _chat(settings: Config) -> Any:
    from declutch.endpoint.client import open_endpoint

    return open_endpoint(settings.endpoint)


def _tell_usage(chat: Any) -> None:
    if chat is not None:
        used = chat.usage
        console.print(
            f"endpoint: {used.calls:,} calls, {used.cached:,} answers from the cache, "
            f"{used.tokens:,} tokens, cost {used.cost:.2f}"
        )


def _fallbacks(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return f", but {sum(counts.values())} by template ({reasons})"


def _suite(settings: Config) -> Any:
    from declutch.envs.registry import make_suite

    with _bar("generating games") as report:
        return make_suite(settings.env, report)


def _bar(description: str) -> Any:
    from declutch.report.progress import reported_progress

    return reported_progress(description, console=console)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()
