"""Command line: ``python -m evidence.train_embedded_model {data,train,evaluate,sheet}``."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the words after the program's name; those of this process by default."""
    parser = argparse.ArgumentParser(
        prog="python -m evidence.train_embedded_model", description=__doc__
    )
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser(
        "data", help="fetch the emoji art and prepare the training data (CPU)"
    )
    data.add_argument(
        "--packages", type=Path, default=Path(".local/npm"), help="where the npm packages go"
    )
    data.add_argument(
        "--data", type=Path, default=Path(".local/train-data"), help="where the prepared data goes"
    )
    data.add_argument("--seed", type=int, default=0)
    data.add_argument("--limit", type=int, help="smoke test: this many emoji")
    for name, text in (
        ("train", "train, export and measure"),
        ("warm-up", "fill the compile cache (internal)"),
    ):
        train = commands.add_parser(name, help=text)
        train.add_argument("--data", type=Path, default=Path(".local/train-data"))
        train.add_argument("--out", type=Path, default=Path(".local/trained"))
        train.add_argument("--seed", type=int, default=0)
        train.add_argument("--vae-seconds", type=float, default=320.0)
        train.add_argument("--unet-seconds", type=float, default=540.0)
        train.add_argument("--vae-batch-size", type=int, default=64)
        train.add_argument("--unet-batch-size", type=int, default=1024)
        train.add_argument("--vae-learning-rate", type=float, default=1.5e-3)
        train.add_argument("--unet-learning-rate", type=float, default=1.2e-3)
        train.add_argument("--kl-weight", type=float, default=1e-3)
        train.add_argument(
            "--logit-share", type=float, default=0.5, help="share of timesteps near the middle"
        )
        train.add_argument(
            "--save-at",
            type=float,
            default=0.6,
            help="progress at which an early export is written",
        )
        train.add_argument(
            "--evaluate-prompts", type=int, default=96, help="prompts of each special sort"
        )
        train.add_argument(
            "--evaluate-names", type=int, help="how many of the names; all by default"
        )
        train.add_argument(
            "--limit", type=int, help="smoke test: train on about this many pictures"
        )
        train.add_argument("--no-compile", dest="use_compile", action="store_false")
        train.add_argument("--no-cuda-graph", dest="cuda_graph", action="store_false")
        train.add_argument("--device", help="cuda or cpu; chosen automatically by default")
    for name, text in (
        ("evaluate", "measure an exported folder"),
        ("sheet", "draw a contact sheet"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--model", type=Path, required=True)
        command.add_argument("--data", type=Path, default=Path(".local/train-data"))
        command.add_argument("--output", type=Path, required=True)
        command.add_argument("--device", default="cpu")
        command.add_argument("--steps", type=int, default=20)
        command.add_argument("--guidance", type=float, default=5.0)
        command.add_argument("--evaluate-prompts", type=int, default=96)
        command.add_argument(
            "--evaluate-names", type=int, help="how many of the names; all by default"
        )
    return parser.parse_args(words)


def main() -> None:
    """Parses and runs one command; torch is imported only by those that need it."""
    arguments = parse_arguments()
    if arguments.command == "data":
        from .prepare import prepare

        prepare(arguments.packages, arguments.data, arguments.seed, arguments.limit)
    elif arguments.command in ("train", "warm-up"):
        from . import train

        values = vars(arguments)
        options = train.Options(
            **{field.name: values[field.name] for field in fields(train.Options)}
        )
        (train.run if arguments.command == "train" else train.warm_up)(options)
    else:
        import torch

        from .contact_sheet import PROMPTS, draw_contact_sheet
        from .dataset import read_dataset
        from .evaluate import load_generator, measure_pipeline

        device = torch.device(arguments.device)
        generator = load_generator(arguments.model, device, arguments.steps, arguments.guidance)
        if arguments.command == "sheet":
            pictures = generator.generate(PROMPTS)
            draw_contact_sheet(PROMPTS, pictures.permute(0, 2, 3, 1).numpy(), arguments.output)
        else:
            data = read_dataset(arguments.data, device)
            figures = measure_pipeline(
                generator,
                data,
                seed=0,
                count=arguments.evaluate_prompts,
                log=print,
                name_count=arguments.evaluate_names,
            )
            arguments.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
